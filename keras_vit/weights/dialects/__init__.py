"""How libraries name the arrays of a ViT: one file a dialect, each a table that is read in both directions."""

from keras_vit.weights.dialects.google import GOOGLE
from keras_vit.weights.dialects.huggingface import HUGGINGFACE
from keras_vit.weights.dialects.meta import META
from keras_vit.weights.dialects.openai import OPENAI
from keras_vit.weights.dialects.timm import TIMM

DIALECTS = {dialect.name: dialect for dialect in (META, TIMM, GOOGLE, OPENAI, HUGGINGFACE)}
"""Dialect name -> dialect, in the order in which a file's names are tried. Meta's include timm's, which is there to
be written."""

__all__ = ["DIALECTS"]
