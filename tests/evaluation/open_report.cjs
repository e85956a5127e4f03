// Opens pages in headless Chromium and prints what is wrong with them: node open_report.cjs JOBS.json, in a folder with
// playwright-core in its node_modules. A job is {"url", "screenshots": {path: width}}; the answers are one JSON a line.
const {readFileSync} = require("fs");
const {chromium} = require("playwright-core");

const FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

async function look(browser, {url, screenshots}) {
  const page = await browser.newPage();
  const errors = [], requests = [], widths = {};
  page.on("console", message => { if (["error", "warning"].includes(message.type())) errors.push(message.text()); });
  page.on("pageerror", error => errors.push(String(error)));
  page.on("request", request => { if (request.url() !== url && !request.url().startsWith("data:")) requests.push(request.url()); });
  await page.goto(url);
  for (const [path, width] of Object.entries(screenshots)) {
    await page.setViewportSize({width, height: 900});
    await page.screenshot({path, fullPage: true});
    widths[width] = await page.evaluate(() => document.documentElement.scrollWidth);
  }
  const images = await page.evaluate(() => [...document.images].map(image => ({
    complete: image.complete, pixels: image.naturalWidth, shown: image.getBoundingClientRect().width, words: image.alt,
  })));
  await page.close();
  return {errors, requests, widths, images};
}

(async () => {
  const browser = await chromium.launch({executablePath: process.env.CHROMIUM, args: FLAGS});
  for (const job of JSON.parse(readFileSync(process.argv[2]))) console.log(JSON.stringify(await look(browser, job)));
  await browser.close();
})().catch(error => { console.error(error); process.exit(1); });
