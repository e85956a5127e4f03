"""What a model looks at: attention scores, maps of what an answer comes from, and how far those can be believed."""

from keras_vit.explain.attention import Attention, attention
from keras_vit.explain.components import components
from keras_vit.explain.distance import attention_distance, distance_figure
from keras_vit.explain.examples import look_at
from keras_vit.explain.faithfulness import Faithfulness, centre_map, faithfulness
from keras_vit.explain.overlay import overlay
from keras_vit.explain.replay import Replay, can_be_looked_into, replay_of
from keras_vit.explain.saliency import METHODS, saliency
from keras_vit.explain.sanity import randomised, sanity

__all__ = [
    "METHODS",
    "Attention",
    "Faithfulness",
    "Replay",
    "attention",
    "attention_distance",
    "can_be_looked_into",
    "centre_map",
    "components",
    "distance_figure",
    "faithfulness",
    "look_at",
    "overlay",
    "randomised",
    "replay_of",
    "saliency",
    "sanity",
]
