"""Which map shows what a model goes by: insertion and deletion scores of every method, and what random weights leave.

    python tests/benchmarks/faithfulness.py --data imagenet_sample --weights deit_tiny.safetensors --json faithful.json

DeiT-Ti and photos drawn with a seed; beside the methods of `keras_vit.explain` a random map, and one that only knows
that things are in the middle of photos. Insertion minus deletion is the score that the bars are about: relevance above
rollout above the last block's attention above the random map, all methods above the random and the centre map. Exit
status 1 when one is missed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fresh_process import write_json
from rich.console import Console
from rich.progress import track
from rich.table import Table

ORDER = ("relevance", "rollout", "attention", "random")
"""Best first, as is to be shown."""
BLIND = ("random", "centre")
"""Maps that do not look."""


def photos_of(data: str, model, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Photos (n, H, W, 3) as the model reads them, and their classes (n,)."""
    import keras_vit
    from keras_vit.data import eval_dataset, load

    photos = load(data, val_fraction=0, test_fraction=0, progress=False).train
    chosen = np.sort(np.random.default_rng(seed).choice(len(photos), min(count, len(photos)), replace=False))
    record = keras_vit.preprocessing_of(model)
    batches = list(eval_dataset(photos.subset(chosen), record, num_classes=1000, batch_size=50))
    images, labels = (np.concatenate([np.asarray(batch[part]) for batch in batches]) for part in (0, 1))
    return images.astype("float32"), labels.argmax(-1)


def compiled(model) -> Callable[[np.ndarray], np.ndarray]:
    """The model's outputs, from a graph of its own."""
    import tensorflow as tf

    function = tf.function(lambda pixels: model(pixels, training=False), autograph=False)
    return lambda pixels: function(tf.constant(pixels)).numpy()


def maps_of(model, images: np.ndarray, options: dict, seed: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Name -> maps (n, h, w), and seconds an image."""
    from keras_vit.explain import METHODS, centre_map, replay_of, saliency

    maps, seconds = {}, {}
    for method in METHODS:
        start = time.perf_counter()
        maps[method] = saliency(model, images, method, progress=True, **options.get(method, {}))
        seconds[method] = (time.perf_counter() - start) / len(images)
        print(f"{method}: {seconds[method]:.2f} s an image", file=sys.stderr, flush=True)
    grid = replay_of(model).grid
    maps["random"] = np.random.default_rng(seed).random((len(images), *grid))
    maps["centre"] = np.broadcast_to(centre_map(grid), (len(images), *grid))
    return maps, seconds


def judged(model, images: np.ndarray, maps: dict[str, np.ndarray], steps: int) -> dict[str, dict[str, np.ndarray]]:
    """Name -> insertion and deletion score of each photo."""
    from keras_vit.explain import faithfulness

    outputs_of, found = compiled(model), {name: ([], []) for name in maps}
    bar = track(range(len(images)), "insertion and deletion", console=Console(stderr=True))
    for index in bar:
        for name, heat in maps.items():
            one = slice(index, index + 1)
            score = faithfulness(model, images[one], heat[one], steps=steps, seed=index, outputs_of=outputs_of)
            found[name][0].append(score.insertion_score[0])
            found[name][1].append(score.deletion_score[0])
    scores = {name: tuple(map(np.array, both)) for name, both in found.items()}
    return {name: {"insertion": one, "deletion": two, "both": one - two} for name, (one, two) in scores.items()}


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def told(values: np.ndarray) -> str:
    return "{:.3f} ± {:.3f}".format(*mean_and_error(values))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="labelled photos of the 1000 classes")
    parser.add_argument("--weights", required=True, help="of DeiT-Ti, in timm's names")
    parser.add_argument("--count", type=int, default=200, help="photos; default 200")
    parser.add_argument("--steps", type=int, default=14, help="of insertion and deletion; default 14")
    parser.add_argument("--integrated-steps", type=int, default=16, help="of integrated gradients; default 16")
    parser.add_argument("--occlusion-stride", type=int, default=2, help="patches; default 2")
    parser.add_argument("--sanity", type=int, default=50, help="photos with random weights; default 50")
    parser.add_argument("--seed", type=int, default=0, help="of photos, random map and random weights")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    arguments = parser.parse_args()

    import keras_vit
    from keras_vit.explain import METHODS, randomised, saliency
    from keras_vit.explain.sanity import alike
    from keras_vit.tasks.explaining import Aim

    options = {
        "integrated": {"steps": arguments.integrated_steps},
        "occlusion": {"stride": arguments.occlusion_stride},
    }
    model = keras_vit.build("deit_ti16", num_classes=1000, weights=arguments.weights)
    images, labels = photos_of(arguments.data, model, arguments.count, arguments.seed)
    maps, seconds = maps_of(model, images, options, arguments.seed)
    scores = judged(model, images, maps, arguments.steps)

    random, some = randomised(model, arguments.seed), images[: arguments.sanity]
    answers = compiled(model)(some)
    print(f"The model has {np.mean(answers.argmax(-1) == labels[: len(some)]):.0%} of them right.", file=sys.stderr)
    aim = Aim(np.eye(answers.shape[-1], dtype="float32")[answers.argmax(-1)], [""] * len(some))
    survived = {}
    for method in METHODS:
        after = saliency(random, some, method, aim=aim, progress=True, **options.get(method, {}))
        pairs = zip(maps[method], after, strict=False)
        survived[method] = np.array([alike(one, other) for one, other in pairs])

    console = Console(width=120)
    table = Table("map", "insertion, high", "deletion, low", "insertion - deletion", "random weights", "s an image")
    for name in sorted(scores, key=lambda name: -scores[name]["both"].mean()):
        score = scores[name]
        left = told(survived[name]) if name in survived else ""
        spent = f"{seconds[name]:.2f}" if name in seconds else ""
        table.add_row(name, *(told(score[kind]) for kind in ("insertion", "deletion", "both")), left, spent)
    console.print(table)

    pairs = [*itertools.pairwise(ORDER), *((method, blind) for method in METHODS for blind in BLIND)]
    pairs = list(dict.fromkeys(pairs))
    paired = Table("better, other", "insertion", "deletion", "insertion - deletion", "bar", title="paired differences")
    bars, differences = {}, {}
    for better, other in pairs:
        name = f"{better} above {other}"
        apart = {kind: scores[better][kind] - scores[other][kind] for kind in ("insertion", "deletion", "both")}
        differences[name] = {kind: mean_and_error(values) for kind, values in apart.items()}
        bars[name] = bool(apart["both"].mean() > 0)
        paired.add_row(name, *map(told, apart.values()), "met" if bars[name] else "MISSED")
    console.print(paired)
    if arguments.json:
        figures = {
            "settings": {key: value for key, value in vars(arguments).items() if key in ("count", "steps", "seed")},
            "options": options,
            "scores": {name: {kind: mean_and_error(v) for kind, v in score.items()} for name, score in scores.items()},
            "differences": differences,
            "random_weights": {name: mean_and_error(values) for name, values in survived.items()},
            "seconds": seconds,
            "bars": bars,
        }
        write_json(arguments.json, figures)
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
