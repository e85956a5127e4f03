"""Token merging: patches that look alike become one token, and later blocks have less to do (Bolya et al., 2023)."""

from __future__ import annotations

from keras import ops


def merge_tokens(tokens, metric, sizes=None, *, count: int, prefix: int = 1):
    """Merges the `count` most similar pairs of patch tokens into their means, weighted by size.

    ToMe ("Token Merging: Your ViT but Faster", ICLR 2023): every second patch looks for the most similar one among
    the others, and those that found the most similar ones give themselves up to them; several may go to the same.
    Shapes are static, no operation is random, and of the matching no gradient is taken: it flows through the means.
    LiteRT takes it with built-in operators alone, in two partitions beside XNNPACK's.

    Args:
        tokens: (B, N, D).
        metric: (B, N, d), what is compared by its cosine; in a transformer block the keys, see `mean_key`.
        sizes: (B, N, 1), how many patches each token is the mean of; None where nothing was merged yet.
        count: tokens to lose, at most half of the patch tokens.
        prefix: number of tokens before the patches; they are not merged.

    Returns:
        Tokens (B, N - count, D): the prefix, the patches that looked and stayed, those that were looked at, each in
        their old order; and their sizes (B, N - count, 1), in the tokens' type.

    Raises:
        ValueError: count is out of range.
    """
    patches = tokens.shape[1] - prefix
    if not 0 < count <= patches // 2:
        raise ValueError(f"Of {patches} patch tokens 1 to {patches // 2} can be merged, not {count}.")
    kept, merged, partners = _match(metric, count, prefix)
    # Sums of many tokens leave the range of float16.
    values = ops.cast(tokens, "float32")
    weights = ops.ones_like(values[:, :, :1]) if sizes is None else ops.cast(sizes, "float32")
    weighted = values if sizes is None else values * weights

    def total(values):
        givers, takers = _alternate(values, prefix)
        return takers + ops.matmul(partners, _pick(givers, merged))

    def join(values, takers):
        stay = [_pick(_alternate(values, prefix)[0], kept)] if kept.shape[1] else []
        return ops.cast(ops.concatenate([values[:, :prefix], *stay, takers], axis=1), tokens.dtype)

    total_weights = total(weights)
    return join(values, total(weighted) / total_weights), join(weights, total_weights)


def mean_key(keys, num_heads: int):
    """What ToMe compares tokens by: the mean of their keys over the heads.

    Args:
        keys: (B, N, D), the heads side by side, before rotary positions turn them.
        num_heads: divides D.

    Returns:
        (B, N, D / num_heads).
    """
    return ops.mean(ops.reshape(keys, (-1, keys.shape[1], num_heads, keys.shape[2] // num_heads)), axis=2)


def _match(metric, count: int, prefix: int):
    """Indices of the givers that stay (B, n) and that merge (B, count), and (B, takers, count) who takes which."""
    metric = ops.cast(ops.stop_gradient(metric), "float32")
    metric = metric * ops.rsqrt(ops.sum(metric * metric, axis=-1, keepdims=True) + 1e-12)
    givers, takers = _alternate(metric, prefix)
    scores = ops.matmul(givers, ops.transpose(takers, (0, 2, 1)))
    best, partner = ops.top_k(scores, 1)
    ranking = ops.top_k(best[..., 0], givers.shape[1])[1]
    merged, kept = ranking[:, :count], ops.sort(ranking[:, count:], axis=-1)
    return kept, merged, ops.one_hot(_pick(partner, merged)[..., 0], takers.shape[1], axis=1, dtype="float32")


def _alternate(values, prefix: int):
    """Cuts patches into the 2nd, 4th, ... (the givers) and the 1st, 3rd, ... (the takers).

    A reshape and a split, not strides: XNNPACK has no strided slices.
    """
    patches = values[:, prefix:]
    pairs, odd = divmod(patches.shape[1], 2)
    channels = patches.shape[2]
    takers, givers = ops.split(ops.reshape(patches[:, : 2 * pairs], (-1, pairs, 2 * channels)), 2, axis=-1)
    return givers, ops.concatenate([takers, patches[:, 2 * pairs :]], axis=1) if odd else takers


def _pick(values, indices):
    """(B, n, C) at indices (B, k) -> (B, k, C).

    One gather over the rows of all images: `take_along_axis` becomes a dozen operators in LiteRT.
    """
    batch, (rows, channels) = ops.shape(values)[0], values.shape[1:]
    starts = ops.expand_dims(ops.arange(batch, dtype=indices.dtype) * rows, 1)
    picked = ops.take(ops.reshape(values, (-1, channels)), ops.reshape(indices + starts, (-1,)), axis=0)
    return ops.reshape(picked, (-1, indices.shape[1], channels))
