"""Segmentation: from patch tokens to logits of every pixel, one head a file."""

from keras_vit.heads.segmentation.dpt import dpt_segmentation
from keras_vit.heads.segmentation.fpn import fpn_segmentation
from keras_vit.heads.segmentation.linear import linear_segmentation
from keras_vit.heads.segmentation.mask import mask_segmentation
from keras_vit.heads.segmentation.pup import pup_segmentation
from keras_vit.heads.segmentation.upernet import upernet_segmentation

__all__ = [
    "dpt_segmentation",
    "fpn_segmentation",
    "linear_segmentation",
    "mask_segmentation",
    "pup_segmentation",
    "upernet_segmentation",
]
