"""The demo's page: one file that holds everything it needs, and speaks to its own server only."""

from __future__ import annotations

import base64
import hashlib
from string import Template

from keras_vit.demo.demo import Demo
from keras_vit.demo.script import SCRIPT
from keras_vit.demo.style import STYLE
from keras_vit.evaluation.elements import text
from keras_vit.explain import METHODS
from keras_vit.explain.overlay import gradient

# Types instead of image/*: phones then hand over JPEGs where they would give formats that only they can read.
ACCEPTED = "image/jpeg,image/png,image/webp,image/bmp,image/gif"

LABELS = {
    "relevance": "relevance: attention and gradient",
    "attention": "attention of the last block",
    "rollout": "attention rollout",
    "gradcam": "Grad-CAM",
    "integrated": "integrated gradients (slower)",
    "occlusion": "occlusion (slower)",
}
"""What methods are called in the menu; others by their name."""


def _scale() -> str:
    """The map's colours as they lie over a photo: the less there is to be seen, the more of the photo."""
    colours = gradient()
    shares = [f"{colour}{round(255 * place / (len(colours) - 1)):02x}" for place, colour in enumerate(colours)]
    return f".scale {{ border: 1px solid var(--line); background: linear-gradient(to right, {', '.join(shares)}); }}\n"


LOOKS = STYLE + _scale()


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


POLICY = "; ".join(
    (
        "default-src 'none'",
        "img-src data: blob:",
        f"style-src {_hash(LOOKS)}",
        f"script-src {_hash(SCRIPT)}",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""What a browser lets the page do: run this very script, in these very looks, and ask its own server."""

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title: what does it see?</title>
<link rel="icon" href="data:,">
<style>$style</style>
</head>
<body data-token="$token" data-most="$most" data-inside="$inside">
<header>
<h1>What does <span class="name">$title</span> see?</h1>
<p class="faint">$about</p>
</header>
<main>
<section aria-label="Photo">
<label class="drop" id="drop" for="photo"><span id="hint">Drop a photo here, paste one, or choose one</span></label>
<div class="buttons">
<label class="button">Choose a photo<input type="file" id="photo" accept="$accepted"></label>
<label class="button camera">Take a photo<input type="file" id="camera" accept="image/*" capture="environment"></label>
</div>
<div class="field"><label for="file">Who answers</label>
<select id="file">$files</select></div>
$look
</section>
<section aria-label="Answer" id="answers">
<p role="status" id="state">No photo yet.</p>
<p role="alert" id="problem"></p>
<div id="answer" hidden>
<h2 id="who"></h2>
<p class="faint" id="time"></p>
<ol id="seen"></ol>
<p id="agreement"></p>
<figure id="drawn" hidden><img alt="The photo with what was seen drawn over it"></figure>
</div>
<div id="looked" hidden>
<h2 id="heading"></h2>
<p class="faint" id="note"></p>
<figure id="map"><img alt="The photo with what the model looked at in colour">
<figcaption><span>little</span><span class="scale"></span><span>much</span></figcaption></figure>
</div>
</section>
</main>
<footer>$promise</footer>
<noscript><p>This page needs JavaScript to send photos.</p></noscript>
<script>$script</script>
</body>
</html>
""")

LOOK = Template("""<div class="field"><label for="method">What the model looked at, by</label>
<select id="method">$methods</select></div>""")


def page(demo: Demo, *, token: str, max_bytes: int, local: bool) -> bytes:
    """The page as UTF-8.

    Args:
        demo: what it is about.
        token: what its requests carry.
        max_bytes: of a photo.
        local: whether the server listens to this machine only.
    """
    look = f'<p class="faint">{text(demo.default)} lies in no run, whose model could show what it looked at.</p>'
    if demo.run is not None:
        look = LOOK.substitute(methods=_options({name: LABELS.get(name, name) for name in METHODS}, demo.method))
    files = {name: f"{name} ({choice.size_bytes / 1e6:.1f} MB)" for name, choice in demo.choices.items()}
    promise = "Photos go to keras-vit on this machine" if local else "Photos go to the machine that keras-vit runs on"
    content = PAGE.substitute(
        title=text(demo.title),
        token=token,
        most=max_bytes,
        inside="yes" if demo.run is not None else "",
        about=text(_about(demo)),
        accepted=ACCEPTED,
        files=_options(files, demo.default),
        look=look,
        promise=f"{promise} and are not kept. This page loads nothing from anywhere else.",
        style=LOOKS,
        script=SCRIPT,
    )
    return content.encode("utf-8", errors="replace")


def _about(demo: Demo) -> str:
    count = len(demo.class_names)
    shown = ", ".join(demo.class_names[:8]) + (", and others" if count > 8 else "")
    words = f"{count} classes: {shown}."
    if len(demo.choices) == 1 and demo.run is not None:
        words += " Nothing was exported from it yet: keras-vit export makes files that can answer here."
    return words


def _options(labels: dict[str, str], chosen: str) -> str:
    return "".join(
        f'<option value="{text(value)}"{" selected" if value == chosen else ""}>{text(label)}</option>'
        for value, label in labels.items()
    )
