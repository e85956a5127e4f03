"""What a model looks at: attention scores, and maps of what an answer comes from."""

from keras_vit.explain.attention import Attention, attention
from keras_vit.explain.faithfulness import Faithfulness, centre_map, faithfulness
from keras_vit.explain.replay import Replay, replay_of
from keras_vit.explain.saliency import METHODS, saliency
from keras_vit.explain.sanity import randomised, sanity

__all__ = [
    "METHODS",
    "Attention",
    "Faithfulness",
    "Replay",
    "attention",
    "centre_map",
    "faithfulness",
    "randomised",
    "replay_of",
    "saliency",
    "sanity",
]
