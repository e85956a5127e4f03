"""The loss against PyTorch's, against the definitions, and on what it must not see."""

import keras
import numpy as np
import pytest

from keras_vit.data.masks import IGNORE
from keras_vit.tasks.segmentation.losses import SegmentationLoss, dice_errors, lovasz_errors

B, H, W, C = 3, 5, 7, 4


def batch(ignored: float = 0.2):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, C, (B, H, W))
    truth[rng.random(truth.shape) < ignored] = IGNORE
    return truth.astype("int32"), (2 * rng.normal(size=(B, H, W, C))).astype("float32")


def per_image(loss, truth, logits) -> np.ndarray:
    return np.asarray(loss.call(truth, logits))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_pytorchs(smoothing):
    torch = pytest.importorskip("torch")
    truth, logits = batch()
    ours = per_image(SegmentationLoss(label_smoothing=smoothing), truth, logits)
    for image in range(B):
        theirs = torch.nn.functional.cross_entropy(
            torch.from_numpy(logits[image].transpose(2, 0, 1))[None],
            torch.from_numpy(truth[image].astype("int64"))[None],
            ignore_index=IGNORE,
            label_smoothing=smoothing,
        )
        assert ours[image] == pytest.approx(theirs.item(), rel=1e-5)


def test_class_weights_and_focal():
    truth, logits = batch()
    weights = [0.5, 1.0, 2.0, 0.0]
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    chosen = np.take_along_axis(p, np.maximum(truth, 0)[..., None], -1)[..., 0]
    valid = truth != IGNORE
    wanted = (-np.log(chosen) * (1 - chosen) ** 2 * np.array(weights)[truth] * valid).sum((1, 2)) / valid.sum((1, 2))
    np.testing.assert_allclose(per_image(SegmentationLoss(weights, focal=2.0), truth, logits), wanted, rtol=1e-4)


def test_dice_and_lovasz_of_certain_predictions_are_their_scores():
    rng = np.random.default_rng(1)
    truth, said = (np.eye(C, dtype="float32")[rng.integers(0, C, (2, 60))] for _ in range(2))
    both, either = (truth * said).sum(1), np.maximum(truth, said).sum(1)
    np.testing.assert_allclose(lovasz_errors(truth, said), 1 - both / either, atol=1e-6)
    sizes = truth.sum(1) + said.sum(1)
    np.testing.assert_allclose(dice_errors(truth, said), 1 - (2 * both + 1) / (sizes + 1), atol=1e-6)


def test_lovasz_is_the_sum_over_the_ranked_errors():
    """By the definition of Berman et al.: errors in falling order times what each adds to 1 - IoU."""
    rng = np.random.default_rng(2)
    truth = (rng.random((1, 30, 1)) < 0.4).astype("float32")
    shares = rng.random((1, 30, 1)).astype("float32")
    errors = np.abs(truth - shares)[0, :, 0]
    wanted, missed, before = 0.0, set(), 0.0
    for pixel in np.argsort(-errors):
        missed.add(pixel)
        right = {i for i in range(30) if truth[0, i, 0]}
        said = {i for i in range(30) if (i in right) != (i in missed)}
        now = 1 - len(right & said) / len(right | said)
        wanted, before = wanted + errors[pixel] * (now - before), now
    assert float(lovasz_errors(truth, shares)[0, 0]) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("parts", [{}, {"dice": 1.0}, {"lovasz": 1.0}, {"focal": 2.0, "dice": 0.5, "lovasz": 0.5}])
def test_ignored_pixels_count_nowhere(parts):
    truth, logits = batch()
    loss = SegmentationLoss(**parts)
    other = np.where((truth == IGNORE)[..., None], 50 * np.random.default_rng(3).normal(size=logits.shape), logits)
    np.testing.assert_allclose(
        per_image(loss, truth, other.astype("float32")), per_image(loss, truth, logits), rtol=1e-5
    )
    nothing = np.full_like(truth, IGNORE)
    assert not per_image(loss, nothing, logits).any()


def test_a_batch_counts_as_its_images_do():
    """So that devices which see a share each give the loss of the whole."""
    truth, logits = batch(0.5)
    truth[0, 1:] = IGNORE
    loss = SegmentationLoss(dice=1.0, lovasz=1.0)
    parts = [float(loss(truth[i : i + 1], logits[i : i + 1])) for i in range(B)]
    assert float(loss(truth, logits)) == pytest.approx(np.mean(parts), rel=1e-6)


def test_it_is_kept_with_a_model():
    loss = SegmentationLoss([1.0, 2.0], 0.1, 1.0, 0.5, 0.25)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
