"""How libraries name the arrays of a ViT: one file a dialect, each a table that is read in both directions."""

from keras_vit.weights.dialects.timm import TIMM

DIALECTS = {dialect.name: dialect for dialect in (TIMM,)}
"""Dialect name -> dialect, in the order in which a file's names are tried."""

__all__ = ["DIALECTS"]
