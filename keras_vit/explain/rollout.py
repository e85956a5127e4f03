"""Maps from attention alone: what the tokens that are read look at, whatever the answer is."""

from __future__ import annotations

import numpy as np

from keras_vit.explain.asked import Asked
from keras_vit.explain.attention import attention


def last_attention(asked: Asked) -> np.ndarray:
    """What the last block looks at, the mean over its heads: (B, h, w).

    Of the class token, as in Caron et al., "Emerging properties in self-supervised vision transformers", 2021; of the
    tokens that the answer is read from where there is none.
    """
    return attention(asked.model, asked.images, layers=[-1]).maps().mean((1, 2))


def rollout(asked: Asked) -> np.ndarray:
    """Attention through all blocks: (B, h, w).

    Abnar and Zuidema, "Quantifying attention flow in transformers", 2020: a block's residual connection counts as much
    as what its heads, on average, look at, every row is normalised, and the blocks' matrices are multiplied. What
    the tokens that the answer is read from get is the map.
    """
    seen = attention(asked.model, asked.images)
    rows = seen.readers[:, None]
    for shares in reversed(range(len(seen.layers))):
        mixed = 0.5 * seen.scores[:, shares].mean(1) + 0.5 * np.eye(len(seen.tokens), dtype="float32")
        # From the last block down with the rows that are read, not with all of them.
        rows = rows @ (mixed / mixed.sum(-1, keepdims=True))
    return asked.as_maps(rows[:, 0])
