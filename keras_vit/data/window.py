"""One window of an image for its pixels, its mask and its boxes alike.

A window is where the image is put in the model's input: resized, shifted, maybe mirrored first. It may show a part of
the image or reach beyond it. Pixels are resampled with antialiasing, masks by nearest neighbour, boxes are moved.
"""

from __future__ import annotations

import tensorflow as tf

from keras_vit.data import geometry
from keras_vit.data.augment import Augment
from keras_vit.data.color import random_color
from keras_vit.data.geometry import Placement
from keras_vit.data.masks import IGNORE
from keras_vit.preprocessing import Preprocessing

KEPT = 0.25
"""A box of which a smaller share of the area is inside the window is no target."""
SCALE = (0.75, 1.5)
"""Range of the random size, unless an `Augment` has another one."""
SMALLEST = 1.0
"""A box that is smaller inside the window, in pixels of the model's input, is no target."""


class Window:
    """Where one image is seen.

    Args:
        shape: (2,) int32, the image's height and width in pixels.
        place: where it lies in the model's input.
        mirrored: (2,) bool: top and bottom, and left and right, of the image are swapped first.
        preprocessing: the model's record.
    """

    def __init__(self, shape: tf.Tensor, place: Placement, mirrored: tf.Tensor, preprocessing: Preprocessing):
        self.shape, self.place, self.mirrored, self.preprocessing = shape, place, mirrored, preprocessing
        self.covered = geometry.covered(place, shape, preprocessing)

    def pixels(self, image: tf.Tensor) -> tf.Tensor:
        """The model's input (h, w, C) float32 0..255 of an (H, W, C) image; the mean colour is beyond the image."""
        record = self.preprocessing
        pixels = tf.cast(self._mirror(image), tf.float32)
        pixels = geometry.scale_and_translate(pixels, record.image_size, *self.place, record.interpolation)
        pixels = tf.ensure_shape(pixels, (*record.image_size, image.shape[-1]))
        return self.filled(tf.clip_by_value(pixels, 0.0, 255.0))

    def fitted(self, image: tf.Tensor) -> tf.Tensor:
        """The same as `pixels` where the window is the evaluation's: in whole numbers."""
        return geometry.resize_and_crop(self._mirror(image), self.preprocessing)

    def filled(self, pixels: tf.Tensor) -> tf.Tensor:
        """The same input (h, w, C) with the mean colour beyond the image."""
        return tf.where(self.covered[..., None], pixels, geometry.fill(self.preprocessing))

    def mask(self, mask: tf.Tensor) -> tf.Tensor:
        """The mask (h, w) int32 of the model's input of an (H, W) one; IGNORE is beyond the image."""
        mask = self._mirror(mask)
        for axis, side in enumerate(self.preprocessing.image_size):
            centres = tf.range(side, dtype=tf.float32) + 0.5
            nearest = tf.cast(tf.floor((centres - self.place.offset[axis]) / self.place.scale[axis]), tf.int32)
            mask = tf.gather(mask, tf.clip_by_value(nearest, 0, self.shape[axis] - 1), axis=axis)
        return tf.where(self.covered, mask, IGNORE)

    def boxes(self, rows: tf.Tensor) -> tf.Tensor:
        """The targets on the model's input of those on the image: moved, clipped, and left out where little remains.

        Args:
            rows: (k, 5) float32: x0, y0, x1, y1 in pixels of the image, class.

        Returns:
            (at most k, 5) float32: the same in pixels of the model's input.
        """
        extent = tf.cast(tf.reverse(self.shape, [0]), tf.float32)
        low, high = tf.clip_by_value(rows[:, :2], 0.0, extent), tf.clip_by_value(rows[:, 2:4], 0.0, extent)
        # Swapping the sides of the image swaps which end of a box comes first.
        swapped = tf.reverse(self.mirrored, [0])
        low, high = tf.where(swapped, extent - high, low), tf.where(swapped, extent - low, high)
        scale, offset = tf.reverse(self.place.scale, [0]), tf.reverse(self.place.offset, [0])
        low, high = low * scale + offset, high * scale + offset
        size = tf.constant(self.preprocessing.image_size[::-1], tf.float32)
        inner_low, inner_high = tf.clip_by_value(low, 0.0, size), tf.clip_by_value(high, 0.0, size)
        sides = inner_high - inner_low
        enough = tf.reduce_prod(sides, 1) >= KEPT * tf.reduce_prod(high - low, 1)
        kept = enough & (tf.reduce_min(sides, 1) >= SMALLEST)
        return tf.boolean_mask(tf.concat([inner_low, inner_high, rows[:, 4:]], 1), kept)

    def _mirror(self, picture: tf.Tensor) -> tf.Tensor:
        for axis in range(2):
            picture = tf.cond(
                self.mirrored[axis], lambda picture=picture, axis=axis: tf.reverse(picture, [axis]), lambda p=picture: p
            )
        return picture


def whole_window(shape: tf.Tensor, preprocessing: Preprocessing) -> Window:
    """The window of the evaluation view."""
    return Window(shape, geometry.placement(shape, preprocessing), tf.constant([False, False]), preprocessing)


class RandomWindow:
    """Training views of an image together with what is marked on it.

    Args:
        augment: `flip`, `flip_vertical`, `scale` and `color` are used.
        preprocessing: the model's record.

    Raises:
        InputError: a setting that is for classification only.
    """

    def __init__(self, augment: Augment, preprocessing: Preprocessing):
        augment.check_for_places()
        self.augment, self.preprocessing = augment, preprocessing
        self.scale = augment.scale or SCALE

    def __call__(self, image: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, Window]:
        """One view.

        Args:
            image: (H, W, C) uint8.
            seed: (2,) integers; the same seed gives the same view.

        Returns:
            (h, w, C) float32 0..255, and the window through which masks or boxes are seen.
        """
        augment, shape = self.augment, tf.shape(image)[:2]
        coin, size, position, colour = tf.unstack(tf.random.split(seed, 4))
        coins = tf.random.stateless_uniform((2,), coin) < 0.5
        mirrored = coins & tf.constant([augment.flip_vertical, augment.flip])
        place = geometry.placement(shape, self.preprocessing)
        if self.scale == (1.0, 1.0):
            window = Window(shape, place, mirrored, self.preprocessing)
            pixels = window.fitted(image)
        else:
            scale = place.scale * tf.random.stateless_uniform((), size, *self.scale)
            # Between flush with one end and flush with the other, be the image larger than the input or smaller.
            room = tf.constant(self.preprocessing.image_size, tf.float32) - tf.cast(shape, tf.float32) * scale
            offset = room * tf.random.stateless_uniform((2,), position)
            window = Window(shape, Placement(scale, offset), mirrored, self.preprocessing)
            pixels = window.pixels(image)
        if augment.color:
            pixels = window.filled(random_color(pixels, colour, augment.color))
        return pixels, window
