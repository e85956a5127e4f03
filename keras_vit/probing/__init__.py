"""What frozen features are worth: features of images, k-nearest neighbours, a linear probe, the nearest images."""

from keras_vit.probing.embed import POOLINGS, Embedder, embed
from keras_vit.probing.embedded import Embedded
from keras_vit.probing.knn import knn, neighbours
from keras_vit.probing.linear import linear, linear_classifier
from keras_vit.probing.nearest import nearest_records, nearest_sheet
from keras_vit.probing.probe import METHODS, probe
from keras_vit.probing.probed import Probed

__all__ = [
    "METHODS",
    "POOLINGS",
    "Embedded",
    "Embedder",
    "Probed",
    "embed",
    "knn",
    "linear",
    "linear_classifier",
    "nearest_records",
    "nearest_sheet",
    "neighbours",
    "probe",
]
