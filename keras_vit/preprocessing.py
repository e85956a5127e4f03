"""The preprocessing record: what was done to an image before a model saw it.

It is one of the three things that a model is made of (architecture, weights, preprocessing) and travels with the
weights, the saved model and every export. Plain data, no framework: whoever deploys a model can read it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from keras_vit.errors import InputError, suggest

INTERPOLATIONS = ("bicubic", "bilinear")
FITS = ("crop", "squash", "pad")


@dataclass(frozen=True)
class Preprocessing:
    """How an encoded image becomes the pixels that a model takes, and how the model normalises them.

    Attributes:
        image_size: height and width in pixels of the model's input.
        mean: per channel, in the range 0..1; its length is the number of channels (1 is grey, 3 is RGB).
        std: per channel, in the range 0..1.
        crop: the share of the resized image's side that the centre crop keeps (timm's `crop_pct`).
        interpolation: `"bicubic"` or `"bilinear"`, both antialiased.
        fit: how an image of another shape is fitted. `"crop"` keeps its aspect ratio and cuts the centre out (timm's
            `crop_mode="center"`); `"squash"` resizes each side by itself; `"pad"` keeps the aspect ratio and the whole
            image, filled up at the right and bottom with the mean colour (`crop` must be 1).
    """

    image_size: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    crop: float = 0.9
    interpolation: str = "bicubic"
    fit: str = "crop"

    def __post_init__(self):
        for field in ("image_size", "mean", "std"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if len(self.mean) != len(self.std):
            raise InputError(f"mean has {len(self.mean)} channels and std has {len(self.std)}: give the same number.")
        if min(self.std) <= 0:
            raise InputError(f"std must be above 0 in every channel, not {self.std}.")
        if not 0 < self.crop <= 1:
            raise InputError(f"crop is the share of the image that is kept, above 0 and at most 1, not {self.crop}.")
        if self.interpolation not in INTERPOLATIONS:
            raise InputError(
                f"interpolation {self.interpolation!r} is not known: {suggest(self.interpolation, INTERPOLATIONS)}"
            )
        if self.fit not in FITS:
            raise InputError(f"fit {self.fit!r} is not known: {suggest(self.fit, FITS)}")
        if self.fit == "pad" and self.crop != 1:
            raise InputError(f'fit "pad" keeps the whole image, so crop must be 1, not {self.crop}: set crop to 1.')

    @property
    def channels(self) -> int:
        """Number of image channels."""
        return len(self.mean)

    def fitted(self, image_size: tuple[int, int], channels: int) -> Preprocessing:
        """The same record for another image size and number of channels.

        Other channels than the record's all get the average of its mean and of its std: a grey image is normalised
        as the mean of the three colours would be.
        """
        mean, std = self.mean, self.std
        if channels != self.channels:
            mean = (sum(mean) / len(mean),) * channels
            std = (sum(std) / len(std),) * channels
        return dataclasses.replace(self, image_size=image_size, mean=mean, std=std)

    def to_dict(self) -> dict:
        """Plain lists and numbers, for JSON, YAML and layer configs."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

PRESETS = {
    "inception": Preprocessing(),
    "imagenet": Preprocessing(mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "clip": Preprocessing(mean=CLIP_MEAN, std=CLIP_STD),
}
"""Named records: `inception` (mean and std 0.5: Google's ViT, AugReg, SigLIP), `imagenet` (DeiT, DINO, MAE), `clip`
(CLIP, EVA-02)."""
