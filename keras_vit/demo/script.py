"""What the demo's page does: it sends the photo to its own server and shows the answer. It needs nothing else."""

from __future__ import annotations

SCRIPT = r"""
"use strict";
const element = id => document.getElementById(id);
const {token, most, inside} = document.body.dataset, hint = element("hint");
let photo = null, wanted = "";
// What is on its way; a newer question of the same kind takes its place.
const asked = {};

async function ask(path, values) {
  asked[path]?.abort();
  const {signal} = asked[path] = new AbortController();
  const headers = {"Content-Type": "application/octet-stream", "X-Demo-Token": token};
  let answer;
  try {
    answer = await fetch(`${path}?${new URLSearchParams(values)}`, {method: "POST", body: photo, headers, signal});
    const said = await answer.json();
    if (answer.ok) return said;
    throw new Error(said.error);
  } catch (error) {
    if (signal.aborted) return null;
    throw answer ? error : new Error("The demo does not answer any more: is keras-vit demo still running?");
  }
}

function say(state, words, problem = "") {
  document.body.dataset.state = state;
  element("state").classList.remove("spoken");
  element("state").textContent = words;
  element("problem").textContent = problem;
}

const percent = share => `${(100 * share).toFixed(1)} %`;

function bar({name, share, wanted: value}) {
  const item = document.createElement("li"), box = document.createElement(inside ? "button" : "div");
  box.innerHTML = '<span class="row"><span></span><span></span></span><span class="track"><span></span></span>';
  const [label, figure] = box.querySelectorAll(".row span");
  label.textContent = name;
  figure.textContent = percent(share);
  box.querySelector(".track span").style.width = `${100 * share}%`;
  item.dataset.name = name;
  item.dataset.share = share;
  item.dataset.wanted = value;
  if (inside) {
    box.type = "button";
    box.setAttribute("aria-pressed", false);
    box.onclick = () => { wanted = value; look(); };
  }
  item.append(box);
  return item;
}

/** Marks what is explained: what was asked for, or else the class that the model itself says. */
function press(own) {
  for (const {dataset, firstElementChild} of document.querySelectorAll("#seen li")) {
    const explained = wanted ? dataset.wanted === wanted : dataset.name === own;
    firstElementChild.setAttribute("aria-pressed", Boolean(own) && explained);
  }
}

async function answer() {
  if (!photo) return;
  const file = element("file").value;
  say("busy", `${file} is looking at the photo ...`);
  try {
    const said = await ask("answer", {file});
    if (!said) return;
    const shown = said.seen.slice(0, 12), rest = said.seen.length - shown.length;
    const time = said.milliseconds.toFixed(said.milliseconds < 100 ? 1 : 0), size = (said.size_bytes / 1e6).toFixed(1);
    element("who").textContent = `${said.file} answered in ${time} ms`;
    element("time").textContent = `${size} MB; photo of ${said.width} x ${said.height} pixels` +
      (said.calls > 1 ? `, looked at in ${said.calls} windows` : "") + (rest > 0 ? `; ${rest} more not listed` : "");
    element("seen").replaceChildren(...shown.map(bar));
    element("agreement").textContent = said.agreement ?? "";
    element("drawn").hidden = !said.picture;
    if (said.picture) element("drawn").firstElementChild.src = said.picture;
    element("answer").hidden = false;
    // The bars say it, too: these words are for those who hear the page.
    say("ready", shown.length ? `${shown[0].name}, ${percent(shown[0].share)}` : "Nothing was found in the photo.");
    element("state").classList.toggle("spoken", shown.length > 0);
  } catch (error) {
    element("answer").hidden = true;
    say("failed", "", error.message);
  }
}

async function look() {
  if (!photo || !inside) return;
  const method = element("method").value, heading = element("heading");
  press(null);
  document.body.dataset.looking = "busy";
  element("looked").hidden = false;
  heading.textContent = "Looking inside model.keras ...";
  element("note").textContent = "";
  let said;
  try {
    said = await ask("look", {method, wanted});
    if (!said) return;
  } catch (error) {
    said = {problem: error.message};
  }
  press(said.of);
  element("map").hidden = !said.picture;
  if (said.picture) {
    heading.textContent = said.of ? `What speaks for ${said.of}` : "What model.keras looked at";
    element("note").textContent = `${said.method} of model.keras, ${said.seconds.toFixed(1)} s.` +
      (said.of ? " Press another bar for what speaks for that." : " The same whatever the answer is.") +
      " What the model did not see is dark.";
    element("map").firstElementChild.src = said.picture;
  } else {
    heading.textContent = "What model.keras looked at";
    element("note").textContent = said.problem;
  }
  document.body.dataset.looking = said.picture ? "ready" : "failed";
}

async function take(file) {
  if (!file) return;
  for (const controller of Object.values(asked)) controller.abort();
  [photo, wanted] = [null, ""];
  delete document.body.dataset.looking;
  for (const id of ["answer", "looked"]) element(id).hidden = true;
  element("drop").replaceChildren(hint);
  if (file.size > most) {
    say("failed", "", `The photo is larger than ${most / 1e6} MB: make it smaller.`);
    return;
  }
  if (file.size === 0) {
    say("failed", "", "The photo is an empty file.");
    return;
  }
  photo = file;
  const image = new Image();
  image.alt = "Your photo";
  image.onload = () => URL.revokeObjectURL(image.src);
  image.onerror = () => element("drop").replaceChildren(hint);
  image.src = URL.createObjectURL(file);
  element("drop").replaceChildren(image);
  await answer();
  if (document.body.dataset.state === "ready" && photo === file) look();
}

for (const id of ["photo", "camera"]) {
  element(id).onchange = ({target}) => { take(target.files[0]); target.value = ""; };
}
element("file").onchange = answer;
if (inside) element("method").onchange = look;
document.ondragover = event => { event.preventDefault(); document.body.classList.add("over"); };
document.ondragleave = event => { if (!event.relatedTarget) document.body.classList.remove("over"); };
document.ondrop = event => {
  event.preventDefault();
  document.body.classList.remove("over");
  take(event.dataTransfer.files[0]);
};
document.onpaste = event => take([...event.clipboardData.files][0]);
"""
