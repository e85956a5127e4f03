"""What a model looks at: attention scores, and maps of what an answer comes from."""

from keras_vit.explain.attention import Attention, attention
from keras_vit.explain.distance import attention_distance, distance_figure
from keras_vit.explain.replay import Replay, replay_of

__all__ = ["Attention", "Replay", "attention", "attention_distance", "distance_figure", "replay_of"]
