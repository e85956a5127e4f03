"""How long a user waits for a ViT-B/16 with random weights, and for `import keras_vit`, beside KerasHub and timm.

Every figure comes from a fresh process, and the contenders take turns, so that whatever else the machine does meets
all of them. Imports are timed apart from the build. Two bars are checked:

- `keras_vit.build("vit_b16", num_classes=1000)` is not slower than either peer;
- `import keras_vit` after `import keras` takes less than 0.3 s.

    python tests/benchmarks/build_time.py --rounds 5 --peer-python PEER/bin/python --kerashub-path KERASHUB

A peer that is not installed is left out, in a sentence. Exit status 1 when a bar is missed. How to install the peers
and how to read the numbers is in the README beside this file.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path

from fresh_process import ContenderError, run_json, write_json
from rich.console import Console
from rich.progress import track
from rich.table import Table

IMPORT_BAR = 0.3  # seconds

PROGRAM = """
import json, time
start = time.perf_counter()
{imports}
imported = time.perf_counter()
model = {build}
built = time.perf_counter()
print(json.dumps({{"import": imported - start, "build": built - imported, "parameters": {parameters}}}))
"""


@dataclass
class Contender:
    """Someone who builds: what is imported, what is built, and where that is installed."""

    name: str
    imports: str
    build: str
    parameters: str = "model.count_params()"
    python: str = sys.executable
    env: dict[str, str] = field(default_factory=dict)

    def run(self) -> dict:
        """Seconds of `import` and `build`, and the number of parameters, from a fresh process."""
        program = PROGRAM.format(imports=self.imports, build=self.build, parameters=self.parameters)
        return run_json([self.python, "-c", program], self.env)


def builders(peer_python: str, kerashub_path: str | None) -> list[Contender]:
    """The three ways to a ViT-B/16 of 86,567,656 parameters; keras_vit comes first."""
    tensorflow = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    search = [kerashub_path, os.environ.get("PYTHONPATH")]
    return [
        Contender(
            "keras_vit",
            imports="import keras_vit",
            build="keras_vit.build('vit_b16', num_classes=1000)",
            env=tensorflow,
        ),
        Contender(
            "KerasHub",
            imports="from keras_hub.models import ViTBackbone, ViTImageClassifier",
            build="ViTImageClassifier(backbone=ViTBackbone(image_shape=(224, 224, 3), patch_size=16, num_layers=12, "
            "num_heads=12, hidden_dim=768, mlp_dim=3072), num_classes=1000)",
            env=tensorflow | {"PYTHONPATH": os.pathsep.join(filter(None, search))},
        ),
        Contender(
            "timm",
            imports="import timm",
            build="timm.create_model('vit_base_patch16_224')",
            parameters="sum(parameter.numel() for parameter in model.parameters())",
            python=peer_python,
        ),
    ]


def installed(contenders: list[Contender]) -> list[Contender]:
    """Those that build; says why of every other. Files are in the system's cache afterwards for all of them."""
    ready = []
    for contender in contenders:
        try:
            contender.run()
            ready.append(contender)
        except (ContenderError, OSError) as error:
            print(f"{contender.name} is left out, because it does not run here: {error}", file=sys.stderr)
    return ready


def take_turns(contenders: list[Contender], rounds: int, label: str) -> dict[str, list[dict]]:
    """Every contender once a round, each round beginning with another one."""
    results: dict[str, list[dict]] = {contender.name: [] for contender in contenders}
    for turn in track(range(rounds), description=label, console=Console(stderr=True)):
        first = turn % len(contenders)
        for contender in contenders[first:] + contenders[:first]:
            results[contender.name].append(contender.run())
    return results


def summarise(runs: list[dict]) -> dict:
    """Medians and the fastest and slowest build of one contender, in seconds."""
    builds = [run["build"] for run in runs]
    return {
        "import_s": statistics.median(run["import"] for run in runs),
        "build_s": statistics.median(builds),
        "build_min_s": min(builds),
        "build_max_s": max(builds),
        "parameters": runs[0]["parameters"],
        "runs": runs,
    }


def measure_builds(arguments: argparse.Namespace) -> dict:
    """Builds of all contenders that are installed, with keras_vit's time as a ratio to each peer's."""
    contenders = installed(builders(arguments.peer_python, arguments.kerashub_path))
    if not contenders or contenders[0].name != "keras_vit":
        sys.exit("keras_vit does not build here: install it into this environment first.")
    figures = {name: summarise(runs) for name, runs in take_turns(contenders, arguments.rounds, "build").items()}
    own = figures["keras_vit"]["build_s"]
    table = Table("ViT-B/16", "import s", "build s", "fastest", "slowest", "keras_vit / this", "parameters")
    for name, figure in figures.items():
        figure["ratio"] = own / figure["build_s"]
        seconds = [f"{figure[key]:.2f}" for key in ("import_s", "build_s", "build_min_s", "build_max_s")]
        table.add_row(name, *seconds, f"{figure['ratio']:.2f}", f"{figure['parameters']:,}")
    Console().print(table)
    return figures


def measure_imports(rounds: int) -> dict:
    """`import keras` alone, and followed by `import keras_vit` in the same process."""
    env = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    contenders = [
        Contender("keras", "import keras", build="None", parameters="0", env=env),
        Contender("keras_vit", "import keras", build="__import__('keras_vit')", parameters="0", env=env),
    ]
    runs = take_turns(contenders, rounds, "import")
    alone = [run["import"] for run in runs["keras"]]
    both = [run["import"] + run["build"] for run in runs["keras_vit"]]
    figures = {
        "keras_s": statistics.median(alone),
        "keras_and_keras_vit_s": statistics.median(both),
        "difference_s": statistics.median(two - one for one, two in zip(alone, both, strict=True)),
        "added_s": statistics.median(run["build"] for run in runs["keras_vit"]),
    }
    table = Table("import", "median s")
    table.add_row("keras", f"{figures['keras_s']:.2f}")
    table.add_row("keras, then keras_vit", f"{figures['keras_and_keras_vit_s']:.2f}")
    table.add_row("difference between such processes", f"{figures['difference_s']:.3f}")
    table.add_row("keras_vit's own part, within a process", f"{figures['added_s']:.3f}")
    Console().print(table)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes per contender (default 5)")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter of an environment with timm")
    parser.add_argument("--kerashub-path", help="folder that keras-hub was installed into, if not this environment")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error(f"--rounds is at least 1, not {arguments.rounds}.")

    build, imports = measure_builds(arguments), measure_imports(arguments.rounds)
    bars = {f"build not slower than {name}": figure["ratio"] <= 1 for name, figure in build.items()}
    del bars["build not slower than keras_vit"]
    bars[f"import keras_vit adds less than {IMPORT_BAR} s"] = imports["added_s"] < IMPORT_BAR
    for bar, met in bars.items():
        print(f"{'met' if met else 'MISSED'}: {bar}")
    if arguments.json:
        write_json(arguments.json, {"rounds": arguments.rounds, "build": build, "import": imports, "bars": bars})
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
