"""How long a user waits for a ViT-L/16 with weights from a 1.2 GB file, and what it costs in memory, beside the peers.

Every figure comes from a fresh process, and the contenders take turns. The files are written first, into a folder of
their own: timm's random ViT-L/16 as `.safetensors`, which keras_vit and timm both load, and KerasHub's as a preset.
Two bars are checked:

- `keras_vit.build("vit_l16", num_classes=1000, weights=FILE)` is not slower than either peer's own loading;
- its peak of resident memory is at most 1.5 times the file, over the process that has imported everything.

    python tests/benchmarks/load_time.py --rounds 5 --peer-python PEER/bin/python --kerashub-path KERASHUB

timm writes the file, so it has to be installed; KerasHub is left out where it is not. Exit status 1 when a bar is
missed. How to install the peers is in the README beside this file.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from build_time import Contender, installed, take_turns
from fresh_process import ContenderError, run_json, write_json
from rich.console import Console
from rich.table import Table

MEMORY_BAR = 1.5  # times the file

PROGRAM = """
import json, time
{imports}

def resident(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))

with open("/proc/self/clear_refs", "w") as clear:
    clear.write("5")  # forget the peak of the imports
before = resident("VmRSS")
start = time.perf_counter()
model = {build}
seconds = time.perf_counter() - start
print(json.dumps({{"seconds": seconds, "peak": resident("VmHWM") - before, "parameters": {parameters}}}))
"""
WRITE_TIMM = """
import json, timm, torch
from safetensors.torch import save_file
torch.manual_seed(0)
model = timm.create_model("vit_large_patch16_224")
save_file(model.state_dict(), {path!r})
print(json.dumps({{}}))
"""
WRITE_KERASHUB = """
import json
from keras_hub.models import ViTBackbone, ViTImageClassifier
sizes = {{"patch_size": 16, "num_layers": 24, "num_heads": 16, "hidden_dim": 1024, "mlp_dim": 4096}}
backbone = ViTBackbone(image_shape=(224, 224, 3), **sizes)
ViTImageClassifier(backbone=backbone, num_classes=1000).save_to_preset({path!r})
print(json.dumps({{}}))
"""


class Loader(Contender):
    """Someone who loads: a fresh process gives seconds, the peak of memory, and the number of parameters."""

    def run(self) -> dict:
        """One load."""
        program = PROGRAM.format(imports=self.imports, build=self.build, parameters=self.parameters)
        return run_json([self.python, "-c", program], self.env)


def prepare(folder: Path, peer_python: str, kerashub_path: str | None) -> list[Loader]:
    """Writes the files and names who loads them; keras_vit comes first."""
    tensorflow = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    file, preset = str(folder / "vit_l16.safetensors"), str(folder / "kerashub")
    run_json([peer_python, "-c", WRITE_TIMM.format(path=file)])
    loaders = [
        Loader(
            "keras_vit",
            imports="import keras_vit",
            build=f"keras_vit.build('vit_l16', num_classes=1000, weights={file!r})",
            env=tensorflow,
        ),
        Loader(
            "timm",
            imports="import timm",
            build=f"timm.create_model('vit_large_patch16_224', checkpoint_path={file!r})",
            parameters="sum(parameter.numel() for parameter in model.parameters())",
            python=peer_python,
        ),
    ]
    search = os.pathsep.join(filter(None, [kerashub_path, os.environ.get("PYTHONPATH")]))
    try:
        run_json([sys.executable, "-c", WRITE_KERASHUB.format(path=preset)], tensorflow | {"PYTHONPATH": search})
    except ContenderError as error:
        print(f"KerasHub is left out, because it does not run here: {error}", file=sys.stderr)
        return loaders
    kerashub = Loader(
        "KerasHub",
        imports="from keras_hub.models import ViTImageClassifier",
        build=f"ViTImageClassifier.from_preset({preset!r})",
        env=tensorflow | {"PYTHONPATH": search},
    )
    return [*loaders, kerashub]


def measure(loaders: list[Loader], rounds: int, file_size: int) -> dict:
    """Medians of all loaders, and keras_vit's time as a ratio to each peer's."""
    figures = {}
    for name, runs in take_turns(installed(loaders), rounds, "load").items():
        seconds = [run["seconds"] for run in runs]
        figures[name] = {
            "seconds": statistics.median(seconds),
            "fastest": min(seconds),
            "slowest": max(seconds),
            "peak_of_file": max(run["peak"] for run in runs) / file_size,
            "parameters": runs[0]["parameters"],
            "runs": runs,
        }
    table = Table("ViT-L/16", "load s", "fastest", "slowest", "keras_vit / this", "peak / file", "parameters")
    for name, figure in figures.items():
        figure["ratio"] = figures["keras_vit"]["seconds"] / figure["seconds"]
        numbers = [f"{figure[key]:.2f}" for key in ("seconds", "fastest", "slowest", "ratio", "peak_of_file")]
        table.add_row(name, *numbers, f"{figure['parameters']:,}")
    Console().print(table)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes per contender (default 5)")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter of an environment with timm")
    parser.add_argument("--kerashub-path", help="folder that keras-hub was installed into, if not this environment")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        loaders = prepare(Path(folder), arguments.peer_python, arguments.kerashub_path)
        size = (Path(folder) / "vit_l16.safetensors").stat().st_size
        figures = measure(loaders, arguments.rounds, size)
    bars = {f"not slower than {name}": figure["ratio"] <= 1 for name, figure in figures.items() if name != "keras_vit"}
    bars[f"peak at most {MEMORY_BAR} x the file"] = figures["keras_vit"]["peak_of_file"] <= MEMORY_BAR
    for bar, met in bars.items():
        print(f"{'met' if met else 'MISSED'}: {bar}")
    if arguments.json:
        write_json(arguments.json, {"rounds": arguments.rounds, "file_bytes": size, "load": figures, "bars": bars})
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
