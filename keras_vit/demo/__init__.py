"""A local page on which a run, or a file that was exported from it, says what it sees in photos."""

from keras_vit.demo.demo import Demo
from keras_vit.demo.refused import Refused
from keras_vit.demo.server import Server

__all__ = ["Demo", "Refused", "Server"]
