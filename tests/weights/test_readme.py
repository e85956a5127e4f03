"""The README's table of families says what the package has."""

from __future__ import annotations

from pathlib import Path

from keras_vit.variants import FAMILIES
from keras_vit.weights.catalogue import list_weights
from keras_vit.weights.dialects.huggingface_config import MODELS

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def test_every_family_is_in_the_table():
    rows = [line.split("|")[1:-1] for line in README.splitlines() if line.startswith("| `")]
    table = {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in rows if len(cells) == 5}
    assert list(table) == list(FAMILIES)
    for name, (sizes, tags, dialects, judges) in table.items():
        patches = FAMILIES[name].sizes.items()
        assert sizes == ", ".join(f"{size}{'/'.join(map(str, sides))}" for size, sides in patches)
        assert int(tags) == sum(weights.split(".")[0].rpartition("_")[0] == name for weights in list_weights())
        assert ("transformers" in dialects) == ("transformers" in judges) == (name in MODELS)


def test_the_number_of_tags():
    assert f"# {len(list_weights())} published tags in all" in README
