"""What a model looks at: attention scores, and maps of what an answer comes from."""

from keras_vit.explain.attention import Attention, attention
from keras_vit.explain.distance import attention_distance, distance_figure
from keras_vit.explain.examples import look_at
from keras_vit.explain.replay import Replay, can_be_looked_into, replay_of

__all__ = [
    "Attention",
    "Replay",
    "attention",
    "attention_distance",
    "can_be_looked_into",
    "distance_figure",
    "look_at",
    "replay_of",
]
