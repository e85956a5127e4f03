// Opens the demo in headless Chromium, drops a photo on it and prints what happened: node drive_demo.cjs JOB.json, with
// playwright-core in NODE_PATH. A job is {"url", "photo", "bad", "width", "height", "dark", "screenshot"}.
const {readFileSync} = require("fs");
const {chromium} = require("playwright-core");

const FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** Drops or pastes a file as a person does: an event with the file in it. */
const hand = (page, kind, path) => page.evaluate(([kind, base64]) => {
  const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0)), data = new DataTransfer();
  data.items.add(new File([bytes], "photo.jpg", {type: "image/jpeg"}));
  const event = kind === "drop" ? new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true})
    : new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true});
  document.body.dispatchEvent(event);
}, [kind, readFileSync(path).toString("base64")]);

const settled = page => page.waitForFunction(() => {
  const {state, looking} = document.body.dataset;
  return state === "failed" || (state === "ready" && (looking === "ready" || looking === "failed"));
}, null, {timeout: 120000});

const shown = page => page.evaluate(() => {
  const text = id => document.getElementById(id).checkVisibility() ? document.getElementById(id).innerText : "";
  const visible = [...document.images].filter(image => image.checkVisibility());
  return {
    state: document.body.dataset.state, problem: text("problem"), who: text("who"), agreement: text("agreement"),
    heading: text("heading"), note: text("note"),
    seen: [...document.querySelectorAll("#seen li")].map(item => [item.dataset.name, Number(item.dataset.share)]),
    pictures: visible.map(image => [image.alt, image.complete && image.naturalWidth > 0]),
    width: document.documentElement.scrollWidth,
  };
});

async function drive({url, photo, bad, width, height, dark, screenshot}) {
  const browser = await chromium.launch({executablePath: process.env.CHROMIUM, args: FLAGS});
  const page = await browser.newPage({viewport: {width, height}, colorScheme: dark ? "dark" : "light"});
  const outside = [], errors = [], steps = {};
  page.on("request", request => { if (!request.url().startsWith(url) && !/^(data|blob):/.test(request.url())) outside.push(request.url()); });
  page.on("console", message => { if (["error", "warning"].includes(message.type())) errors.push(message.text()); });
  page.on("pageerror", error => errors.push(String(error)));
  await page.goto(url);
  steps.empty = await shown(page);
  await hand(page, "drop", photo);
  await settled(page);
  steps.dropped = await shown(page);
  if (screenshot) await page.screenshot({path: screenshot, fullPage: true});
  // By keyboard: the last class of the list, and another method.
  const button = page.locator("#seen button").last();
  await button.focus();
  await page.evaluate(() => { delete document.body.dataset.looking; });
  await page.keyboard.press("Enter");
  await settled(page);
  steps.pressed = await shown(page);
  await page.evaluate(() => { delete document.body.dataset.looking; });
  await page.selectOption("#method", "rollout");
  await settled(page);
  steps.rollout = await shown(page);
  await page.selectOption("#file", "model.keras");
  await page.waitForFunction(() => document.getElementById("who").innerText.startsWith("model.keras"));
  steps.source = await shown(page);
  await hand(page, "paste", photo);
  await settled(page);
  steps.pasted = await shown(page);
  await page.setInputFiles("#photo", photo);
  await settled(page);
  steps.chosen = await shown(page);
  // Last: Chromium itself writes an error to the console where a server refuses.
  const before = errors.length;
  await hand(page, "drop", bad);
  await settled(page);
  steps.bad = await shown(page);
  await browser.close();
  return {steps, outside, errors: errors.slice(0, before)};
}

drive(JSON.parse(readFileSync(process.argv[2]))).then(found => console.log(JSON.stringify(found)), error => { console.error(error); process.exit(1); });
