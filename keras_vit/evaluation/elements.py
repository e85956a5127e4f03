"""Pieces of a page that holds everything it shows: text, numbers, tables, pictures, and the page around them."""

from __future__ import annotations

import base64
import html
import io
import struct
from collections.abc import Callable, Mapping, Sequence

from PIL import Image

from keras_vit.evaluation.template import PAGE

ABSENT = "\u2013"

Columns = Mapping[str, tuple[str, Callable[[object], str]]]
"""Key of a row -> heading and format of its column."""


def assemble(title: str, parts: Mapping[str, str], *, style: str = "") -> bytes:
    """The page: a section a part, and links to them.

    Args:
        title: the heading, as text.
        parts: heading -> HTML of the section; an empty one is left out.
        style: CSS beyond the page's own.

    Returns:
        UTF-8; text that is no Unicode, as file names may be, shows as question marks.
    """
    names = {name: name.lower().replace(" ", "-") for name, content in parts.items() if content}
    page = PAGE.substitute(
        title=text(title),
        style=style,
        links="".join(f'<a href="#{anchor}">{name}</a>' for name, anchor in names.items()),
        sections="\n".join(
            f'<section id="{anchor}" aria-label="{name}">\n<h2>{name}</h2>\n{parts[name]}\n</section>'
            for name, anchor in names.items()
        ),
    )
    return page.encode("utf-8", errors="replace")


def text(value: object) -> str:
    """Anything as text of a page or of an attribute."""
    return html.escape(str(value), quote=True)


def number(value: object) -> str:
    """Four significant digits for measured numbers; whole numbers with thousands apart; other things as they are."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return text(value)


def scaled(unit: str, factor: float, digits: int) -> Callable[[object], str]:
    """A format that shows numbers in another unit, and what is not a number as it is."""

    def show(value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return number(value)
        return f"{value * factor:,.{digits}f} {unit}".rstrip()

    return show


percent = scaled("%", 100, 2)


def passed(value: object) -> str:
    """The verdict on a check, in words and in colour."""
    return '<span class="good">passed</span>' if value else '<span class="bad">failed</span>'


def table(rows: Sequence[Mapping], known: Columns) -> str:
    """The rows as a table that scrolls in its own box: known columns in their order, then what else the rows hold."""
    if not rows:
        return ""
    present = dict.fromkeys(key for row in rows for key in row)
    columns = {key: known[key] for key in known if key in present}
    columns |= {key: (str(key), number) for key in present if key not in known}
    heads = "".join(f'<th scope="col">{text(heading)}</th>' for heading, _ in columns.values())
    body = "\n".join(f"<tr>{_cells(row, columns)}</tr>" for row in rows)
    content = f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return f'<div class="box" tabindex="0">{content}</div>'


def _cells(row: Mapping, columns: Columns) -> str:
    shown = [ABSENT if row.get(key) is None else show(row[key]) for key, (_, show) in columns.items()]
    return f'<th scope="row">{shown[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in shown[1:])


def facts(values: Mapping[str, object]) -> str:
    """Tiles of what a reader wants to know first, label -> value."""
    pairs = "".join(f"<div><dt>{text(k)}</dt><dd>{number(v)}</dd></div>" for k, v in values.items())
    return f"<dl>{pairs}</dl>" if pairs else ""


def picture(words: str, png: bytes, *, least_share: float) -> str:
    """An embedded picture that scrolls sideways rather than shrink below a share of its width.

    Args:
        words: for those who cannot see it.
        png: bytes of a PNG file.
        least_share: of its width.

    Raises:
        ValueError: not a PNG file.
    """
    if png[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"the picture {words!r} is not the bytes of a PNG file.")
    width, height = struct.unpack(">II", png[16:24])
    image = _embedded(words, png, "png", (width, height), f"min-width:{round(width * least_share)}px")
    return f'<div class="picture" tabindex="0">{image}</div>'


def photo(words: str, jpeg: bytes) -> str:
    """An embedded photo as wide as its place.

    Args:
        words: for those who cannot see it.
        jpeg: bytes of a JPEG file.
    """
    with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
        return _embedded(words, jpeg, "jpeg", image.size, "width:100%")


def _embedded(words: str, file: bytes, kind: str, size: tuple[int, int], style: str) -> str:
    data = base64.b64encode(file).decode("ascii")
    return (
        f'<img src="data:image/{kind};base64,{data}" alt="{text(words)}" width="{size[0]}" height="{size[1]}" '
        f'style="{style}">'
    )
