"""index.html: explained photos on one page that holds everything it shows, for a large screen and for a phone."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from keras_vit.evaluation import RIGHT, WRONG
from keras_vit.evaluation.elements import assemble, facts, text
from keras_vit.explain.overlay import gradient
from keras_vit.explain.sheet import LEGEND, Panel

QUALITY = 88
"""Of the page's JPEGs: as PNGs, a hundred photos would make a page that no phone opens."""
PICTURE_WIDTH = 250
"""Pixels of a screen that each picture of a card makes the card wide at least."""
SMALL = 100
"""Images of up to so many pixels are enlarged with hard edges."""

STYLE = """
.cards { display: grid; gap: 14px; }
.card { margin: 0; padding: .7rem; background: var(--panel); border-radius: 8px; min-width: 0; }
.card > figcaption { color: var(--text); }
.card > figcaption b, .card > figcaption span { display: block; }
.row { display: grid; gap: 10px; }
.row { grid-template-columns: repeat(auto-fit, minmax(min(clamp(140px, 18vw, 220px), 100%), 1fr)); }
.row figure { margin: 0; min-width: 0; }
.row img { display: block; width: 100%; height: auto; border-radius: 4px; }
.row img.small { image-rendering: pixelated; }
.row figcaption { font-size: .85rem; margin: .25rem 0 0; }
.scale { max-width: 480px; height: 14px; border-radius: 7px; }
.words { color: var(--faint); font-size: .9rem; margin: .3rem 0 1rem; }
"""


def card(panel: Panel) -> str:
    """A photo with its pictures as a piece of the page."""
    tone = {RIGHT: "good", WRONG: "bad"}.get(panel.colour, "")
    title = "".join(f'<span class="{tone}">{text(line)}</span>' for line in panel.title.split("\n"))
    pictures = "".join(
        f"<figure>{_picture(f'{panel.name}: {heading}', image)}<figcaption>{text(heading)}</figcaption></figure>"
        for heading, image in panel.pictures.items()
    )
    caption = f"<figcaption><b>{text(panel.name)}</b>{title}</figcaption>"
    return f'<figure class="card">{caption}<div class="row">{pictures}</div></figure>'


def page(
    title: str, summary: Mapping[str, object], cards: Sequence[str], pictures: int, notes: Sequence[str] = ()
) -> bytes:
    """The page, as UTF-8.

    Args:
        title: the heading.
        summary: what a reader wants to know first, label -> value.
        cards: of `card`.
        pictures: in each of them.
        notes: sentences that a reader of the pictures needs beyond those on their colours.
    """
    words = [f"{LEGEND[0].upper()}{LEGEND[1:]}.", "Colours compare places, not photos.", *notes]
    legend = (
        f'<div class="scale" style="background:linear-gradient(90deg,{",".join(gradient())})"></div>'
        f'<p class="words">{text(" ".join(words))}</p>'
    )
    width = f"grid-template-columns:repeat(auto-fill,minmax(min({pictures * PICTURE_WIDTH}px,100%),1fr))"
    shown = f'<div class="cards" style="{width}">\n' + "\n".join(cards) + "\n</div>"
    return assemble(title, {"Summary": facts(summary), "Photos": legend + shown}, style=STYLE)


def _picture(words: str, image: np.ndarray) -> str:
    """An embedded JPEG."""
    height, width = image.shape[:2]
    content = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(content, "JPEG", quality=QUALITY)
    data = base64.b64encode(content.getvalue()).decode("ascii")
    small = ' class="small"' if max(height, width) <= SMALL else ""
    return f'<img{small} src="data:image/jpeg;base64,{data}" alt="{text(words)}" width="{width}" height="{height}">'
