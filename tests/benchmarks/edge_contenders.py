"""Writes one file for `edge_latency.py`: a ViT of one size by one route to the edge.

Each file is made in a process of its own, in the environment of that route: converters leak and can abort, and what a
route needs is imported only where it is used. By hand:

    python tests/benchmarks/edge_contenders.py stock_dynamic ti16 OUT.tflite --weights deit_tiny.safetensors
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

SIZES = {
    "ti16": ("vit_tiny_patch16_224", 192, 3),
    "s16": ("vit_small_patch16_224", 384, 6),
    "b16": ("vit_base_patch16_224", 768, 12),
}
"""Size -> timm's name, width, heads. All have 12 blocks, 1000 classes and read 224 x 224 pixels in patches of 16."""


def write_kerashub(job: argparse.Namespace, **options) -> None:
    """KerasHub's classifier by a plain `export`: the batch stays unknown."""
    import keras
    from keras_hub.models import ViTBackbone, ViTImageClassifier

    _, width, heads = SIZES[job.size]
    keras.utils.set_random_seed(0)
    backbone = ViTBackbone(
        image_shape=(224, 224, 3), patch_size=16, num_layers=12, num_heads=heads, hidden_dim=width, mlp_dim=4 * width
    )
    ViTImageClassifier(backbone=backbone, num_classes=1000).export(str(job.out), format="litert", **options)


def write_kerashub_static(job: argparse.Namespace) -> None:
    """The same with a batch of one: mostly faster, for those who know to ask for it."""
    write_kerashub(job, input_signature=_one_image())


def write_timm_litert(job: argparse.Namespace) -> None:
    """timm through litert-torch."""
    import litert_torch

    litert_torch.convert(*_timm(job.size)).export(str(job.out))


def write_timm_onnx(job: argparse.Namespace) -> None:
    """timm through PyTorch's present ONNX exporter."""
    import torch

    torch.onnx.export(*_timm(job.size), str(job.out), dynamo=True, external_data=False)


def write_timm_onnx_traced(job: argparse.Namespace) -> None:
    """timm through PyTorch's former, tracing ONNX exporter, which timm's own script uses by default."""
    import torch

    torch.onnx.export(*_timm(job.size), str(job.out), dynamo=False, opset_version=18)


def write_stock(job: argparse.Namespace, **options) -> None:
    """keras_vit's model, unchanged, by Keras's `export` with a batch of one: what a user of Keras would ship."""
    source_model(job).export(str(job.out), format="litert", input_signature=_one_image(), **options)


def write_stock_dynamic(job: argparse.Namespace) -> None:
    """The same with weights in int8 (dynamic range)."""
    import tensorflow as tf

    write_stock(job, optimizations=[tf.lite.Optimize.DEFAULT])


def write_stock_full_int8(job: argparse.Namespace) -> None:
    """The same in int8 throughout, calibrated by TFLiteConverter on photos; in- and output stay float32."""
    import tensorflow as tf

    import keras_vit
    from keras_vit.data import eval_dataset

    preprocessing = keras_vit.preprocessing_of(source_model(job))

    def representative():
        photos = calibration_photos(job)
        for pixels, _ in eval_dataset(photos, preprocessing, num_classes=1000, batch_size=1):
            yield [pixels.numpy()]

    write_stock(
        job,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=representative,
        target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},
    )


def write_ours(job: argparse.Namespace, name: str) -> None:
    """keras_vit's own export, a row of its table of formats."""
    from keras_vit.export.formats import FORMATS

    with _material(job) as material:
        FORMATS[name].write(material, job.out)


REDUCED = (0, 0, 0, 52, 0, 0, 52, 0, 0, 0, 0, 0)
"""Tokens merged away a block, as the search finds it for DeiT-Ti: no retraining."""


def write_ours_reduced(job: argparse.Namespace) -> None:
    """keras_vit's export in float32 with fewer tokens."""
    from keras_vit.export.material import Form

    with _material(job) as material:
        Path(material.float_tflite(Form(schedule=REDUCED))).replace(job.out)


def write_ours_reduced_dynamic(job: argparse.Namespace) -> None:
    """The same with int8 weights."""
    from keras_vit.export.material import Form
    from keras_vit.export.quantize import DYNAMIC

    with _material(job) as material:
        material.quantise(job.out, DYNAMIC, Form(schedule=REDUCED))


@contextmanager
def _material(job: argparse.Namespace):
    import keras_vit
    from keras_vit.export.material import Material
    from keras_vit.tasks import Classification

    model = source_model(job)
    with tempfile.TemporaryDirectory(dir=job.out.parent) as folder:
        yield Material(
            model=model,
            task=Classification(tuple(f"class {index}" for index in range(1000))),
            preprocessing=keras_vit.preprocessing_of(model),
            folder=Path(folder),
            calibration=calibration_photos(job) if job.calibration else None,
        )


def write_reference(job: argparse.Namespace) -> None:
    """What the Keras model itself says: `images` (4, H, W, 3), pixels 0..255, and their `logits` (4, C)."""
    images = np.random.default_rng(0).integers(0, 256, (4, 224, 224, 3)).astype("float32")
    np.savez(job.out, images=images, logits=source_model(job).predict(images, verbose=0))


def source_model(job: argparse.Namespace):
    """The Keras model that stock files and ours come from.

    Without weights it is random, with activations about as wide as a trained network's: logits that all but vanish
    would pass any comparison.
    """
    import keras_vit

    model = keras_vit.build(f"deit_{job.size}", num_classes=1000, weights=job.weights, seed=0)
    if not job.weights:
        rng = np.random.default_rng(0)
        model.set_weights([_drawn(weight.name, weight.shape, rng) for weight in model.weights])
    if job.outliers:
        from outliers import scale_channels

        model = scale_channels(model)
    return model


def _drawn(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if name == "kernel":
        return rng.standard_normal(shape) * np.prod(shape[:-1]) ** -0.5
    return (name == "gamma") + 0.1 * rng.standard_normal(shape)


def calibration_photos(job: argparse.Namespace):
    """So many photos, evenly spaced over the folders."""
    from keras_vit.data import find_images

    found, _ = find_images(job.calibration, progress=False)
    return found.subset(np.linspace(0, len(found) - 1, job.calibration_images).round().astype(int))


def _one_image() -> list:
    import keras

    return [keras.InputSpec(shape=(1, 224, 224, 3), dtype="float32")]


def _timm(size: str) -> tuple:
    """timm's model and its arguments; torchvision, which timm imports, may not fit a CPU build of torch."""
    import torch

    sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))
    from peers import declare_torchvision_ops

    declare_torchvision_ops()
    import timm

    torch.manual_seed(0)
    return timm.create_model(SIZES[size][0]).eval(), (torch.randn(1, 3, 224, 224),)


@dataclass(frozen=True)
class Route:
    """How a file comes about.

    Attributes:
        write: makes it.
        suffix: of the file.
        environment: whose interpreter it needs: `keras_vit`, `kerashub` or `torch`.
        calibrated: whether it needs photos.
        sizes: that it is compared at; there are bars for int8 at Ti only.
    """

    write: Callable[[argparse.Namespace], None]
    suffix: str
    environment: str
    calibrated: bool = False
    sizes: tuple[str, ...] = tuple(SIZES)


ROUTES = {
    "reference": Route(write_reference, ".npz", "keras_vit"),
    "kerashub": Route(write_kerashub, ".tflite", "kerashub"),
    "kerashub_static": Route(write_kerashub_static, ".tflite", "kerashub"),
    "timm_litert": Route(write_timm_litert, ".tflite", "torch"),
    "timm": Route(write_timm_onnx, ".onnx", "torch"),
    "timm_traced": Route(write_timm_onnx_traced, ".onnx", "torch"),
    "stock": Route(write_stock, ".tflite", "keras_vit"),
    "stock_dynamic": Route(write_stock_dynamic, ".tflite", "keras_vit", sizes=("ti16",)),
    "stock_full_int8": Route(write_stock_full_int8, ".tflite", "keras_vit", calibrated=True, sizes=("ti16",)),
    "ours_float32": Route(partial(write_ours, name="tflite"), ".tflite", "keras_vit"),
    "ours_dynamic": Route(partial(write_ours, name="tflite-int8-dynamic"), ".tflite", "keras_vit", sizes=("ti16",)),
    "ours_full_int8": Route(
        partial(write_ours, name="tflite-int8"), ".tflite", "keras_vit", calibrated=True, sizes=("ti16",)
    ),
    "ours_onnx": Route(partial(write_ours, name="onnx"), ".onnx", "keras_vit"),
    "ours_reduced": Route(write_ours_reduced, ".tflite", "keras_vit", sizes=("ti16",)),
    "ours_reduced_dynamic": Route(write_ours_reduced_dynamic, ".tflite", "keras_vit", sizes=("ti16",)),
}
"""Every file that is compared, by name."""


def parser() -> argparse.ArgumentParser:
    """The command line: a route, a size and a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("route", choices=ROUTES)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", help="of the Keras model; random without")
    parser.add_argument("--outliers", action="store_true", help="give the Keras model outlier channels (outliers.py)")
    parser.add_argument("--calibration", nargs="+", default=[], metavar="PHOTOS", help="folders of images")
    parser.add_argument("--calibration-images", type=int, default=200, help="how many of them (default %(default)s)")
    return parser


PACKAGES = ("keras", "tensorflow", "keras-hub", "torch", "timm", "litert-torch", "onnx", "onnxscript")
"""Whose versions say how a file was made."""


def main() -> None:
    """Writes the file whole or not at all; the last line says in JSON what it was made of, and with which versions."""
    job = parser().parse_args()
    final = job.out
    final.parent.mkdir(parents=True, exist_ok=True)
    # Converters look at the ending of the name, so the temporary one keeps it.
    job.out = final.with_name(f".partial-{os.getpid()}-{final.name}")
    try:
        ROUTES[job.route].write(job)
        job.out.replace(final)
    finally:
        job.out.unlink(missing_ok=True)
    versions = {package: _version(package) for package in PACKAGES}
    print(json.dumps({"route": job.route, "size": job.size, "weights": job.weights, "versions": versions}))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
