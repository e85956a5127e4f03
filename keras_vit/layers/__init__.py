"""The parts of a ViT, one idea a file, in `keras.ops`: they run on every Keras backend; only `fused` knows one."""

from keras_vit.layers.attention import SelfAttention
from keras_vit.layers.convolution import ConvNorm, Doubling
from keras_vit.layers.dense import Dense
from keras_vit.layers.dropout import Dropout
from keras_vit.layers.encoder_block import EncoderBlock
from keras_vit.layers.feature_pyramid import FeaturePyramid
from keras_vit.layers.layer_scale import LayerScale
from keras_vit.layers.mlp import MLP
from keras_vit.layers.normalization import LayerNorm
from keras_vit.layers.normalize import PixelNormalization
from keras_vit.layers.patch_embedding import PatchEmbedding
from keras_vit.layers.patch_map import PatchMap
from keras_vit.layers.pooling import AttentionPooling, TokenPooling
from keras_vit.layers.position_embedding import PositionEmbedding
from keras_vit.layers.prefix_tokens import PrefixTokens
from keras_vit.layers.relative_bias import RelativePositionBias
from keras_vit.layers.stochastic_depth import StochasticDepth

__all__ = [
    "MLP",
    "AttentionPooling",
    "ConvNorm",
    "Dense",
    "Doubling",
    "Dropout",
    "EncoderBlock",
    "FeaturePyramid",
    "LayerNorm",
    "LayerScale",
    "PatchEmbedding",
    "PatchMap",
    "PixelNormalization",
    "PositionEmbedding",
    "PrefixTokens",
    "RelativePositionBias",
    "SelfAttention",
    "StochasticDepth",
    "TokenPooling",
]
