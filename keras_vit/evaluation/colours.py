"""A colour for each class, far apart for as many classes as that is possible."""

from __future__ import annotations

import colorsys

import numpy as np

FIRST = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#7F3C8D")
"""The palette of Okabe and Ito (2008), which colour-blind people can tell apart, its black replaced by a violet."""

GOLDEN = 0.6180339887498949


def class_colours(count: int) -> np.ndarray:
    """(count, 3) uint8 RGB, the same for the same class whatever the count.

    After the eight of `FIRST` hues follow each other by the golden ratio, in turns lighter and darker, so that
    neighbours differ in brightness as well.
    """
    colours = [[int(text[i : i + 2], 16) for i in (1, 3, 5)] for text in FIRST]
    for index in range(count - len(FIRST)):
        lightness, saturation = ((0.35, 0.65), (0.7, 0.8), (0.5, 0.95))[index % 3]
        rgb = colorsys.hls_to_rgb((0.05 + index * GOLDEN) % 1.0, lightness, saturation)
        colours.append([round(255 * value) for value in rgb])
    return np.array(colours[:count], "uint8")
