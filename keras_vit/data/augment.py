"""Augmentation of one training image: what may be set, and the stateless ops that do it.

Every op takes a seed and nothing else random, so an image is a pure function of (seed, epoch, index) even when images
are prepared in parallel. Keras' RandomFlip, RandomRotation and RandomErasing keep a counter that parallel calls race
for, so these few lines are written with `tf.random.stateless_*` here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import tensorflow as tf

from keras_vit.data import geometry
from keras_vit.data.color import random_color
from keras_vit.data.randaugment import RandAugment
from keras_vit.errors import InputError
from keras_vit.preprocessing import Preprocessing

_ERASED_AREA = (0.02, 1 / 3)
_ERASED_RATIO = (0.3, 1 / 0.3)
_FOR_CLASSES = ("rotate", "shift", "randaugment", "erasing", "mixup", "cutmix")
_VERTICAL_STREAM = 7
_COLOR_STREAM = 6  # the first six seeds of an image are taken


@dataclass(frozen=True)
class Augment:
    """What happens to training images; part of a recipe.

    The settings from `crop_scale` to `cutmix` are for one class an image; with masks and boxes, where the crop of
    classification would lose most objects, `crop_scale` and `crop_ratio` do nothing and the others must be off.
    `flip`, `flip_vertical` and `color` are for all tasks, `scale` for masks and boxes.

    Attributes:
        crop_scale: smallest and largest share of the image's area that the random resized crop keeps; (1, 1) turns it
            off and training images are resized and cropped as at evaluation.
        crop_ratio: smallest and largest width / height of that crop.
        flip: mirror every second image left to right; off for digits and other images that a mirror changes.
        flip_vertical: mirror every second image top to bottom; for images without an up and down, as of cells.
        rotate: largest angle in degrees of a random rotation either way; uncovered pixels are black.
        shift: largest random shift in pixels of the model's input in each direction; uncovered pixels are black.
        randaugment: number of RandAugment operations per image, 0 for none (Cubuk et al., arXiv:1909.13719).
        magnitude: strength of RandAugment on the scale 0..30 (torchvision's bins); 9 is the usual choice.
        erasing: probability that a random rectangle becomes noise (Zhong et al., arXiv:1708.04896).
        mixup: alpha of MixUp's beta distribution, 0 for none (Zhang et al., arXiv:1710.09412).
        cutmix: alpha of CutMix's beta distribution, at most 1, 0 for none (Yun et al., arXiv:1905.04899). With both,
            each batch takes one of the two by a fair coin.
        color: strength c of a random change of brightness, contrast and saturation by factors within 1 - c .. 1 + c,
            and of the hue by up to c / 20 of the colour circle; 0 for none.
        scale: smallest and largest factor on the size at which the fitted image appears, drawn uniformly; its place in
            the model's input is random then, what falls outside is cut off and the rest is filled with the mean
            colour. (1, 1) turns it off. For masks and boxes, where it is (0.75, 1.5) unless told otherwise.
    """

    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (0.75, 1.3333)
    flip: bool = True
    flip_vertical: bool = False
    rotate: float = 0.0
    shift: int = 0
    randaugment: int = 0
    magnitude: float = 9.0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    color: float = 0.0
    scale: tuple[float, float] | None = None

    def __post_init__(self):
        for name in ("crop_scale", "crop_ratio", "scale"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check_pair("crop_scale", 1.0)
        self._check_pair("crop_ratio", math.inf)
        if self.scale is not None:
            self._check_pair("scale", math.inf)
        bounds = {"rotate": 180, "shift": math.inf, "randaugment": math.inf, "magnitude": 30}
        bounds |= {"erasing": 1, "mixup": math.inf, "cutmix": 1, "color": 1}
        for name, most in bounds.items():
            value = getattr(self, name)
            if not 0 <= value <= most:
                upper = "" if most == math.inf else f" and at most {most}"
                raise InputError(f"augment.{name} must be at least 0{upper}, not {value}.")
        for name in ("shift", "randaugment"):
            if getattr(self, name) != int(getattr(self, name)):
                raise InputError(f"augment.{name} must be a whole number, not {getattr(self, name)}.")

    def check_for_classes(self):
        """Raises InputError where a setting is not for classification."""
        if self.scale is not None:
            raise InputError("augment.scale is for masks and boxes: for classification set augment.crop_scale.")

    def check_for_places(self):
        """Raises InputError where a setting is not for masks and boxes."""
        for name in _FOR_CLASSES:
            if getattr(self, name):
                raise InputError(
                    f"augment.{name} is for classification only: with masks and boxes set it to 0 and use "
                    "augment.scale, flip and color."
                )

    def _check_pair(self, name: str, most: float):
        pair = getattr(self, name)
        if len(pair) != 2 or not 0 < pair[0] <= pair[1] <= most:
            upper = "" if most == math.inf else f" and at most {most:g}"
            raise InputError(f"augment.{name} must be two numbers, the smaller first, above 0{upper}, not {pair}.")


class ImageAugmenter:
    """Turns a decoded image into one training view.

    Args:
        augment: what to do.
        preprocessing: the record of the model that is trained.
    """

    def __init__(self, augment: Augment, preprocessing: Preprocessing):
        self.augment = augment
        self.preprocessing = preprocessing
        self.randaugment = None
        if augment.randaugment:
            self.randaugment = RandAugment(augment.randaugment, augment.magnitude / 30, preprocessing.channels)

    def __call__(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """One view.

        Args:
            image: (H, W, C) uint8.
            seed: (2,) int32 or int64; the same seed gives the same view.

        Returns:
            (h, w, C) float32, 0..255.
        """
        if self.crops:
            begin, size = self.box(tf.shape(image)[:2], seed)
            channels = image.shape[-1]
            image = tf.slice(image, tf.concat([begin, [0]], 0), tf.concat([size, [channels]], 0))
            image.set_shape((None, None, channels))
        return self.finish(image, seed)

    @property
    def crops(self) -> bool:
        """Whether a view shows a random part of the image."""
        return self.augment.crop_scale != (1.0, 1.0)

    def box(self, shape: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The part that the view of this seed shows (Inception's crop).

        Args:
            shape: (2,) int32, the image's height and width.
            seed: of the view.

        Returns:
            (2,) int32 first row and column, and (2,) int32 height and width.
        """
        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.concat([shape, [self.preprocessing.channels]], 0),
            bounding_boxes=tf.zeros((1, 0, 4)),
            seed=tf.random.split(seed, 6)[0],
            min_object_covered=0.0,
            aspect_ratio_range=self.augment.crop_ratio,
            area_range=self.augment.crop_scale,
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        return begin[:2], size[:2]

    def finish(self, part: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The view, from the part of the image that `box` chose, or from all of it where nothing is cropped.

        The resize is antialiased, which keras-cv's layer is not: a model that is evaluated on antialiased images would
        notice.

        Args:
            part: (h, w, C) uint8.
            seed: of the view.
        """
        augment = self.augment
        seeds = tf.unstack(tf.random.split(seed, 6))
        if self.crops:
            image = geometry.resize(part, self.preprocessing.image_size, self.preprocessing.interpolation)
        else:
            image = geometry.resize_and_crop(part, self.preprocessing)
        if augment.flip:
            image = tf.image.stateless_random_flip_left_right(image, seeds[1])
        if augment.flip_vertical:
            image = tf.image.stateless_random_flip_up_down(image, tf.random.fold_in(seed, _VERTICAL_STREAM))
        if augment.rotate:
            image = random_rotation(image, seeds[2], augment.rotate)
        if augment.shift:
            image = random_shift(image, seeds[3], augment.shift)
        if augment.color:
            image = random_color(image, tf.random.fold_in(seed, _COLOR_STREAM), augment.color)
        if self.randaugment:
            image = self.randaugment(image, seeds[4])
        if augment.erasing:
            image = random_erasing(image, seeds[5], augment.erasing, self.preprocessing)
        return image


def random_rotation(image: tf.Tensor, seed: tf.Tensor, degrees: float) -> tf.Tensor:
    """Rotates (H, W, C) about its centre by up to `degrees` either way, bilinearly, black outside."""
    angle = tf.random.stateless_uniform((), seed, -degrees, degrees) * (math.pi / 180)
    height, width = image.shape[0], image.shape[1]
    cos, sin = tf.cos(angle), tf.sin(angle)
    x, y = (width - 1) / 2, (height - 1) / 2
    transform = tf.stack([cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y, 0.0, 0.0])
    rotated = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=transform[None],
        output_shape=[height, width],
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
        fill_value=0.0,
    )[0]
    return tf.ensure_shape(rotated, image.shape)


def random_shift(image: tf.Tensor, seed: tf.Tensor, pixels: int) -> tf.Tensor:
    """Shifts (H, W, C) by up to `pixels` in each direction, black outside (the pad-and-crop of CIFAR recipes)."""
    padded = tf.pad(image, [[pixels, pixels], [pixels, pixels], [0, 0]])
    return tf.image.stateless_random_crop(padded, image.shape, seed)


def random_erasing(image: tf.Tensor, seed: tf.Tensor, probability: float, preprocessing: Preprocessing) -> tf.Tensor:
    """Fills a random rectangle with noise that has the record's mean and spread, as timm's `pixel` mode does."""
    coin, box, noise = tf.unstack(tf.random.split(seed, 3))
    erased = tf.random.stateless_uniform((), coin) < probability
    # The noise is the costly part: it is only drawn for images that are erased.
    return tf.cond(erased, lambda: _erase(image, box, noise, preprocessing), lambda: image)


def _erase(image: tf.Tensor, box_seed: tf.Tensor, noise_seed: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    height, width, _ = image.shape
    area, ratio, top, left = tf.unstack(tf.random.stateless_uniform((4,), box_seed))
    area = height * width * (_ERASED_AREA[0] + area * (_ERASED_AREA[1] - _ERASED_AREA[0]))
    ratio = _ERASED_RATIO[0] * (_ERASED_RATIO[1] / _ERASED_RATIO[0]) ** ratio
    tall = tf.minimum(tf.sqrt(area * ratio), float(height))
    wide = tf.minimum(tf.sqrt(area / ratio), float(width))
    rows = tf.range(height, dtype=tf.float32) - top * (height - tall)
    columns = tf.range(width, dtype=tf.float32) - left * (width - wide)
    in_rows = (rows >= 0) & (rows < tall)
    in_columns = (columns >= 0) & (columns < wide)
    inside = (in_rows[:, None] & in_columns[None, :])[..., None]
    noise = tf.random.stateless_normal(image.shape, noise_seed, preprocessing.mean, preprocessing.std)
    return tf.where(inside, tf.clip_by_value(noise * 255.0, 0.0, 255.0), image)
