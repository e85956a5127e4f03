"""Keeps a file loaded and times its calls when asked: one contender of a benchmark.

python burst.py RUNNER FILE --images IMAGES.npy --threads 2

RUNNER is the name of a program of this folder, for instance run_tflite. When the file is loaded, the process prints one
line of JSON, `{"load_ms", "peak_memory_bytes", "batch"}`, and then for each line on standard input, a number of calls,
the list of their times in milliseconds. The first call of a burst is not timed: it brings back the caches that other
contenders have used meanwhile.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parent))

from harness import WARM_UP, peak_memory_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runner")
    parser.add_argument("file")
    parser.add_argument("--images", required=True)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    images = np.load(arguments.images)
    runtime = importlib.import_module(arguments.runner)
    # Runtimes print to standard output as they like; only the answers go where the benchmark listens.
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(value) -> None:
        print(json.dumps(value), file=answers, flush=True)

    bare, start = peak_memory_bytes(), time.perf_counter()
    signature = runtime.load(arguments.file, arguments.threads)["serving_default"]
    load_ms = 1000 * (time.perf_counter() - start)

    def call(number: int) -> float:
        batch = images[[(number + index) % len(images) for index in range(signature.batch)]]
        start = time.perf_counter()
        signature.call(batch)
        return 1000 * (time.perf_counter() - start)

    for number in range(WARM_UP):
        call(number)
    peak = peak_memory_bytes() - bare
    answer({"load_ms": load_ms, "peak_memory_bytes": None if np.isnan(peak) else int(peak), "batch": signature.batch})
    for line in sys.stdin:
        call(0)
        answer([call(number) for number in range(int(line))])


if __name__ == "__main__":
    main()
