"""The looks of the demo's page: light and dark, one column on a phone."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --back: #ffffff; --panel: #f4f6f8; --text: #1b1f24; --faint: #57606a; --line: #8b949e; --link: #0b5cad;
  --bar: #0072b2; --track: #d5dae0; --bad: #a83f00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #14171b; --panel: #1d2127; --text: #e8eaed; --faint: #a3abb5; --line: #6b7480; --link: #7fb8f5;
    --bar: #56b4e9; --track: #363c44; --bad: #ff9a5c;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0 auto; max-width: 1080px; padding: 0 16px; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 1.4rem 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; line-height: 1.3; margin: 0; overflow-wrap: anywhere; }
p { margin: .3rem 0; overflow-wrap: anywhere; }
.faint { color: var(--faint); font-size: .92rem; }
main { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 28px; margin-top: 1.2rem; }
.drop { display: grid; place-items: center; min-height: 15rem; border: 2px dashed var(--line); border-radius: 10px;
  background: var(--panel); overflow: hidden; text-align: center; cursor: pointer; }
.over .drop { border-color: var(--bar); border-style: solid; }
.drop img { display: block; width: 100%; max-height: 28rem; object-fit: contain; }
.drop span { padding: 1rem; }
.buttons { display: flex; flex-wrap: wrap; gap: 10px; margin: .8rem 0; }
.button { position: relative; padding: .5rem .95rem; border: 1px solid var(--line); border-radius: 8px;
  cursor: pointer; }
.camera { display: none; }
@media (pointer: coarse) { .camera { display: block; } }
input[type=file] { position: absolute; inset: 0; width: 1px; height: 1px; opacity: 0; }
.field { margin: .7rem 0; }
.field label { display: block; color: var(--faint); font-size: .92rem; }
select { width: 100%; padding: .5rem; font: inherit; color: inherit; background: var(--back);
  border: 1px solid var(--line); border-radius: 8px; }
.button:focus-within, select:focus-visible, button:focus-visible { outline: 3px solid var(--link);
  outline-offset: 2px; }
#state { color: var(--faint); }
.spoken { position: absolute; width: 1px; height: 1px; margin: 0; overflow: hidden; clip-path: inset(50%); }
#problem:not(:empty) { border-left: 4px solid var(--bad); background: var(--panel); padding: .6rem .8rem; }
ol { list-style: none; margin: .8rem 0; padding: 0; }
li > * { display: block; width: 100%; margin: 0 0 .35rem; padding: .35rem .5rem; border: 1px solid transparent;
  border-radius: 8px; background: none; color: inherit; font: inherit; text-align: left; }
li > button { cursor: pointer; }
li > button:hover { background: var(--panel); }
li > button[aria-pressed=true] { border-color: var(--line); background: var(--panel); }
.row { display: flex; justify-content: space-between; gap: 1rem; }
.row span:first-child { overflow-wrap: anywhere; }
.row span:last-child { font-variant-numeric: tabular-nums; white-space: nowrap; }
.track { display: block; height: .55rem; margin-top: .2rem; border-radius: 3px; background: var(--track);
  overflow: hidden; }
.track span { display: block; height: 100%; background: var(--bar); }
#agreement { border-left: 4px solid var(--bar); padding-left: .7rem; }
#agreement:empty { display: none; }
#looked { margin-top: 1.4rem; }
figure { margin: .7rem 0; }
figure img { display: block; max-width: 100%; max-height: 34rem; margin: 0 auto; border-radius: 8px; }
#drawn img, #map img { width: 100%; object-fit: contain; }
figcaption { display: flex; align-items: center; gap: 10px; margin-top: .5rem; color: var(--faint); font-size: .88rem; }
.scale { flex: 1; height: .7rem; border-radius: 3px; }
footer { margin: 2rem 0; color: var(--faint); font-size: .88rem; }
@media (max-width: 44rem) {
  main { grid-template-columns: minmax(0, 1fr); gap: 8px; }
  .drop { min-height: 10rem; }
  .drop img { max-height: 18rem; }
}
"""
