"""The report's page as a template: structure and style, no content."""

from __future__ import annotations

from string import Template

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
:root {
  color-scheme: light dark;
  --back: #ffffff; --panel: #f4f6f8; --text: #1b1f24; --faint: #57606a; --line: #d5dae0;
  --link: #0b5cad; --good: #00589b; --bad: #a83f00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #14171b; --panel: #1d2127; --text: #e8eaed; --faint: #a3abb5; --line: #363c44;
    --link: #7fb8f5; --good: #74b9f2; --bad: #ff9a5c;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
header, main, footer { max-width: 1200px; margin: 0 auto; padding: 0 16px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1.6rem 0 .6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .7rem; }
a { color: var(--link); }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; }
nav a { padding: .25rem 0; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: .6rem; margin: 0; }
dl div { background: var(--panel); border-radius: 8px; padding: .5rem .75rem; }
dt { color: var(--faint); font-size: .85rem; }
dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.box { overflow: auto; max-height: 32rem; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .94rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
tr:last-child > * { border-bottom: 0; }
thead th { position: sticky; top: 0; background: var(--panel); font-size: .85rem; white-space: normal; }
th:first-child { text-align: left; }
tbody th { font-weight: 600; }
.good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr)); gap: 12px; }
.curves figure { margin: 0; }
.looks { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); gap: 1.4rem 1.2rem; }
.looks > * { min-width: 0; }
.look img { display: block; height: auto; }
.panels { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); gap: 6px; font-size: .85rem; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem .9rem; font-size: .85rem; margin-top: .3rem; }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .35em; border-radius: 2px; }
.panels span { overflow-wrap: anywhere; align-self: end; }
figure { margin: 0 0 1.4rem; }
figure.look { margin: 0; }
.look b { color: var(--text); }
.look b.good { color: var(--good); }
.look b.bad { color: var(--bad); }
figcaption { color: var(--faint); margin-bottom: .4rem; overflow-wrap: anywhere; }
.picture { overflow-x: auto; background: #ffffff; border: 1px solid var(--line); border-radius: 8px; }
.picture img { display: block; height: auto; max-width: 100%; margin: 0 auto; }
pre { overflow-x: auto; background: var(--panel); border-radius: 8px; padding: .9rem; font-size: .85rem; }
footer { color: var(--faint); font-size: .85rem; padding-top: 1.5rem; padding-bottom: 2rem; }
$style</style>
</head>
<body>
<header>
<h1>$title</h1>
<nav aria-label="Sections">$links</nav>
</header>
<main>
$sections
</main>
<footer>Written by keras_vit. This page holds everything it shows and loads nothing.</footer>
</body>
</html>
""")
