"""What every layer of the package shares: a config read off its constructor."""

from __future__ import annotations

import inspect
import itertools

import keras


class ViTLayer(keras.layers.Layer):
    """A Keras layer whose config is its constructor's arguments, each kept as the attribute of the same name.

    The rule is scikit-learn's: an argument called `rate` lives on as `self.rate`. So no layer can have a config
    that fails to rebuild it because somebody forgot a key. Arguments that go to a parent's constructor count as well.
    """

    def get_config(self) -> dict:
        """The constructor's arguments, as plain data."""
        own = itertools.takewhile(lambda each: each is not ViTLayer, type(self).__mro__)
        parameters = [p for each in own for p in inspect.signature(each.__init__).parameters.values()]
        named = (p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self")
        return {**super().get_config(), **{name: getattr(self, name) for name in named}}
