// Opens pages in headless Chromium and prints what they found: node drive_page.cjs JOBS.json, in a folder with
// playwright-core in its node_modules. A job is {"url", "photos", "screenshots"}; the answers are one JSON a line.
const {readFileSync} = require("fs");
const {chromium} = require("playwright-core");

const FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

async function classify(browser, {url, photos, screenshots = {}}) {
  const page = await browser.newPage();
  const answers = [], outside = [];
  page.on("request", request => { if (!/^(blob:)?http:\/\/127\.0\.0\.1|^data:/.test(request.url())) outside.push(request.url()); });
  await page.goto(url);
  for (const photo of photos) {
    await page.setInputFiles("#photo", photo);
    await page.waitForFunction(() => document.body.dataset.state === "failed" || document.querySelector("#classes li"), null, {timeout: 120000});
    answers.push(await page.evaluate(() => ({
      problem: document.querySelector("#problem").textContent,
      index: Number(document.querySelector("#classes li")?.dataset.index),
      score: Number(document.querySelector("#classes li")?.dataset.probability),
      text: document.querySelector("#classes").innerText,
    })));
  }
  const widths = {};
  for (const [path, [width, height]] of Object.entries(screenshots)) {
    await page.setViewportSize({width, height});
    await page.screenshot({path, fullPage: true});
    widths[width] = await page.evaluate(() => document.documentElement.scrollWidth);
  }
  await page.close();
  return {answers, outside, widths};
}

(async () => {
  const browser = await chromium.launch({executablePath: process.env.CHROMIUM, args: FLAGS});
  for (const job of JSON.parse(readFileSync(process.argv[2]))) console.log(JSON.stringify(await classify(browser, job)));
  await browser.close();
})().catch(error => { console.error(error); process.exit(1); });
