"""Searching for a better recipe: trials are runs, and the best of them becomes a recipe."""

from keras_vit.search.space import Choice, Range, default_space, parse_axis
from keras_vit.search.study import tune

__all__ = ["Choice", "Range", "default_space", "parse_axis", "tune"]
