"""What heads whose outputs belong to places of the image share."""

from __future__ import annotations

from keras_vit.errors import InputError
from keras_vit.heads.given import Given
from keras_vit.layers import PatchMap
from keras_vit.layers.base import ViTLayer


class DenseHead(ViTLayer):
    """Patch tokens in, answers for places of the image out; one layer, called `head`.

    Args:
        num_classes: C.
        image_size: (H, W) pixels of the true image.
        patch_size: side of a patch in pixels.
        grid: (h, w) of the patches; it covers the image.
        prefix: number of tokens before the patches.
        zero_head: start the last layers at zero.
        init: how kernels are drawn, a key of `INITS`.
        seed: of the initial kernels.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: tuple[int, int],
        patch_size: int,
        grid: tuple[int, int],
        prefix: int = 1,
        zero_head: bool = False,
        init: str = "normal",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.image_size = tuple(image_size)
        self.patch_size = patch_size
        self.grid = tuple(grid)
        self.prefix = prefix
        self.zero_head = zero_head
        self.init = init
        self.seed = seed
        self.to_map = PatchMap(self.grid, prefix, dtype=self.dtype_policy, name="to_map")


def settings_of(given: Given) -> dict:
    """The arguments that every dense head takes from what `build` gives it.

    Raises:
        InputError: no classes, or tokens that have left their places.
    """
    if not given.num_classes:
        raise InputError(
            "A model for places of the image needs at least one class: give num_classes, or take maps with "
            "keras_vit.features."
        )
    if given.encoded.sizes is not None:
        raise InputError("token_merging takes patches out of their places, which this head needs: leave it.")
    return {
        "num_classes": given.num_classes,
        "image_size": given.image_size,
        "patch_size": given.variant.patch,
        "grid": given.encoded.grid,
        "prefix": given.encoded.prefix,
        "zero_head": given.zero_head,
        "init": given.init,
        "seed": given.child_seed(0),
        "dtype": given.dtype,
        "name": "head",
    }


def check_width(label: str, width: int, multiple: int = 1) -> None:
    """Refuses a setting that is no positive whole number, or none that `multiple` divides.

    Raises:
        InputError: says which setting.
    """
    if not isinstance(width, int) or isinstance(width, bool) or width < 1 or width % multiple:
        of = "whole number" if multiple == 1 else f"multiple of {multiple}"
        raise InputError(f"The head's {label} is a positive {of}, not {width!r}.")
