"""The part of the export's page that tells what is inside the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keras_vit.evaluation.elements import number, scaled, table, text

KINDS = {
    "float": "in float",
    "hybrid": "hybrid",
    "int8": "in int8",
    "int16": "in int16",
    "conversion": "conversions",
    "other": "shapes and indices",
}
"""Kind of an operator, see `tflite_graph.Operator` -> what the page calls it."""
INTEGERS = {"int8", "int16"}
LONG = 30
"""A cell of so many characters breaks into lines."""


def _wrapped(value: str) -> str:
    """A text that breaks into lines inside its cell where it is long."""
    return text(value) if len(value) < LONG else f'<span class="wrapped">{text(value)}</span>'


COLUMNS = {
    "file": ("File", text),
    "operators": ("Operators", number),
    "macs": ("Multiplications", scaled("G", 1e-9, 3)),
    "partitions": ("XNNPACK partitions", number),
    "kernels": ("Outside XNNPACK", _wrapped),
    "float": ("In float", _wrapped),
    "custom": ("Not built in", _wrapped),
    "unknown_shapes": ("Unknown dimensions", number),
    "many_dimensions": ("Tensors above rank 4", number),
}


def operators_section(artifacts: Sequence[Mapping]) -> str:
    """What the files hold: a table, and for each its operators by what they compute in.

    Args:
        artifacts: of the report.

    Returns:
        HTML for a page that has `page_style.STYLE`; empty where no file could be looked into.
    """
    known = [entry for entry in artifacts if entry["inspection"]]
    if not known:
        return ""
    cards = [
        f'<figure class="card"><h4>{text(entry["file"])}</h4>{_bars(entry["inspection"])}</figure>' for entry in known
    ]
    told = (
        "Partitions and kernels are what the interpreter itself makes of the file on the machine that measured it. "
        "An operator computes in the type of its activations; hybrid is float with integer weights."
    )
    return f'{table([_inspected(e) for e in known], COLUMNS)}<p>{told}</p><div class="cards">{"".join(cards)}</div>'


def _inspected(entry: Mapping) -> dict:
    found = entry["inspection"]
    row = {"file": entry["file"], "operators": sum(found["operators"].values()), "custom": ", ".join(found["custom"])}
    if "compute" in found:
        row |= {
            "macs": found["macs"],
            "partitions": found["xnnpack"]["partitions"],
            "kernels": _listed(found["xnnpack"]["kernels"]),
            "float": _in_float(found["compute"]),
            "unknown_shapes": len(found["unknown_shapes"]),
            "many_dimensions": len(found["many_dimensions"]),
        }
    return {key: "none" if value == "" else value for key, value in row.items()}


def _in_float(compute: Mapping[str, Mapping[str, int]]) -> str:
    return _listed(compute.get("float", {})) if compute.keys() & {"hybrid", *INTEGERS} else "all"


def _listed(counts: Mapping[str, int], most: int = 8) -> str:
    shown = ", ".join(f"{count} {name}" for name, count in list(counts.items())[:most])
    return shown + (f" and {len(counts) - most} kinds more" if len(counts) > most else "")


def _bars(inspection: Mapping) -> str:
    """The histogram of operators, each as often as it computes in one type."""
    kinds = inspection.get("compute", {"": inspection["operators"]})
    rows = sorted(((count, name, kind) for kind in kinds for name, count in kinds[kind].items()), reverse=True)
    share = 55 / rows[0][0]
    mixed = " mixed" if kinds.keys() & INTEGERS else ""
    bars = [
        f'<span>{text(name)}</span><span><span class="bar {kind}{mixed}" style="width:{share * count:.0f}%"></span>'
        f"{count} {KINDS.get(kind, '')}</span>"
        for count, name, kind in rows
    ]
    return f'<div class="bars">{"".join(bars)}</div>'
