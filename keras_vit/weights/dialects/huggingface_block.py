"""What transformers' classes call the parts of an encoder block."""

from __future__ import annotations

from dataclasses import dataclass, replace

from keras_vit.weights.architecture import Architecture
from keras_vit.weights.dialects.rows import LINEAR, Row, linear, merged, norm, row


@dataclass(frozen=True)
class Block:
    """What a class calls the parts of its block number `{i}`.

    Attributes:
        at: the block.
        qkv: query, key and value.
        projection: after the attention.
        norms: before the attention, before the MLP.
        mlp: the first dense layers (side by side in ours) and the last.
        gated: the same where the MLP is gated.
        scales: of the two branches.
        bias: the table of relative positions.
    """

    at: str
    qkv: tuple[str, str, str]
    projection: str
    norms: tuple[str, str]
    mlp: tuple[tuple[str, ...], str] = (("mlp.fc1",), "mlp.fc2")
    gated: tuple[tuple[str, ...], str] = (("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj")
    scales: tuple[str, str] = ("layer_scale1.lambda1", "layer_scale2.lambda1")
    bias: str = "relative_position_bias.relative_position_bias_table"

    def rows(self, architecture: Architecture) -> list[Row]:
        """The rows of one block."""
        firsts, last = self.gated if architecture.variant.size.gated else self.mlp
        return [
            *norm(f"{self.at}.{self.norms[0]}", "block_{i}/norm1"),
            *self._query_key_value(architecture.variant.family.qkv_bias),
            row(f"{self.at}.{self.bias}", "block_{i}/attention/relative_bias/table"),
            *linear(f"{self.at}.{self.projection}", "block_{i}/attention/projection"),
            row(f"{self.at}.{self.scales[0]}", "block_{i}/scale1/gamma"),
            *norm(f"{self.at}.{self.norms[1]}", "block_{i}/norm2"),
            merged([f"{self.at}.{name}.weight" for name in firsts], "block_{i}/mlp/expand/kernel", LINEAR),
            merged([f"{self.at}.{name}.bias" for name in firsts], "block_{i}/mlp/expand/bias"),
            *linear(f"{self.at}.{last}", "block_{i}/mlp/contract"),
            row(f"{self.at}.{self.scales[1]}", "block_{i}/scale2/gamma"),
        ]

    def _query_key_value(self, biases: str) -> list[Row]:
        query, key, value = names = [f"{self.at}.{name}" for name in self.qkv]
        kernel = merged([f"{name}.weight" for name in names], "block_{i}/attention/qkv/kernel", LINEAR)
        if biases == "query_value":
            return [
                kernel,
                row(f"{query}.bias", "block_{i}/attention/query_bias"),
                row(f"{value}.bias", "block_{i}/attention/value_bias"),
            ]
        return [kernel, merged([f"{query}.bias", f"{key}.bias", f"{value}.bias"], "block_{i}/attention/qkv/bias")]


_OLD_QKV = ("attention.attention.query", "attention.attention.key", "attention.attention.value")
_NEW_QKV = ("attention.q_proj", "attention.k_proj", "attention.v_proj")
_LAYERNORMS = ("layernorm_before", "layernorm_after")
_LAMBDAS = ("lambda_1", "lambda_2")

VIT = Block(
    "encoder.layer.{i}",
    _OLD_QKV,
    "attention.output.dense",
    _LAYERNORMS,
    mlp=(("intermediate.dense",), "output.dense"),
    scales=_LAMBDAS,
    bias="attention.attention.relative_position_bias.relative_position_bias_table",
)
VIT_OF_5 = Block("layers.{i}", _NEW_QKV, "attention.o_proj", _LAYERNORMS, scales=_LAMBDAS)
DINOV2 = Block(
    "encoder.layer.{i}",
    _OLD_QKV,
    "attention.output.dense",
    ("norm1", "norm2"),
    gated=(("mlp.weights_in",), "mlp.weights_out"),
)
DINOV2_OF_5 = Block("encoder.layer.{i}", _NEW_QKV, "attention.o_proj", ("norm1", "norm2"))
DINOV3 = replace(DINOV2_OF_5, at="layer.{i}", mlp=(("mlp.up_proj",), "mlp.down_proj"))
DINOV3_OF_5 = replace(DINOV3, at="model.layer.{i}")
CLIP = Block(
    "encoder.layers.{i}",
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attn.out_proj",
    ("layer_norm1", "layer_norm2"),
)
