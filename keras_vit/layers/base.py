"""What every layer of the package shares: a config read off its constructor."""

from __future__ import annotations

import inspect

import keras


class ViTLayer(keras.layers.Layer):
    """A Keras layer whose config is its constructor's arguments, each kept as the attribute of the same name.

    The rule is scikit-learn's: an argument called `rate` lives on as `self.rate`. So no layer can have a config
    that fails to rebuild it because somebody forgot a key.
    """

    def get_config(self) -> dict:
        """The constructor's arguments, as plain data."""
        parameters = inspect.signature(type(self).__init__).parameters.values()
        named = (p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self")
        return {**super().get_config(), **{name: getattr(self, name) for name in named}}
