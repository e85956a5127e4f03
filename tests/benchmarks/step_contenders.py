"""No benchmark: one contender of `peer_steps.py`, in a process of its own.

python step_contenders.py train keras_vit ti16 16 224 graph
"""

from __future__ import annotations

import sys

import numpy as np
from standing import serve

SIZES = {"ti16": (192, 3, "tiny"), "s16": (384, 6, "small")}
CLASSES = 1000


def keras_vit_model(size: str, side: int, mode: str):
    import keras_vit

    remat = "block" if mode == "remat" else None
    return keras_vit.build(f"vit_{size}", num_classes=CLASSES, image_size=side, remat=remat, seed=0)


def kerashub_model(size: str, side: int, mode: str):
    from keras_hub.models import ViTBackbone, ViTImageClassifier

    width, heads, _ = SIZES[size]
    backbone = ViTBackbone(
        image_shape=(side, side, 3), patch_size=16, num_layers=12, num_heads=heads, hidden_dim=width, mlp_dim=4 * width
    )
    return ViTImageClassifier(backbone=backbone, num_classes=CLASSES)


def keras_vit_training(model, images, labels, mode):
    import keras

    from keras_vit.training.optimizers import OPTIMIZERS
    from keras_vit.training.trainer import TrainingModel

    trained = TrainingModel(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trained.compile(OPTIMIZERS["adamw"].made(1e-4, summed=True), loss, jit_compile=mode == "xla")
    trained.optimizer.build(trained.trainable_variables)
    return lambda: trained.train_on_batch(images, labels)


def keras_training(model, images, labels, mode):
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-4), loss, jit_compile=mode == "xla")
    return lambda: model.train_on_batch(images, labels)


KERAS = {"keras_vit": (keras_vit_model, keras_vit_training), "KerasHub": (kerashub_model, keras_training)}
"""How each builds its model and makes its training step, as its own users train."""


def keras_forward(model, images, mode):
    import tensorflow as tf

    forward = tf.function(lambda batch: model(batch, training=False), jit_compile=mode == "xla")
    batch = tf.constant(images)
    return lambda: forward(batch).numpy()


def timm_training(model, images, labels):
    import torch

    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    batch, wanted = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), torch.from_numpy(labels)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(batch), wanted).backward()
        optimizer.step()

    return step


def timm_forward(model, images):
    import torch

    model.eval()
    batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())

    def forward():
        with torch.inference_mode():
            model(batch)

    return forward


def main(what: str, who: str, size: str, batch: int, side: int, mode: str) -> None:
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (batch, side, side, 3)).astype("float32")
    labels = rng.integers(0, CLASSES, batch)
    if who == "timm":
        import timm

        model = timm.create_model(f"vit_{SIZES[size][2]}_patch16_224", num_classes=CLASSES, img_size=side)
        images = images / 127.5 - 1
        work = timm_training(model, images, labels) if what == "train" else timm_forward(model, images)
    else:
        build, training = KERAS[who]
        model = build(size, side, mode)
        work = training(model, images, labels, mode) if what == "train" else keras_forward(model, images, mode)
    serve(work)


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:6]), sys.argv[6])
