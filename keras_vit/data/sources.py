"""`load`: from what the user names (a folder, a file, a TFDS name) to checked splits."""

from __future__ import annotations

from keras_vit.data import check
from keras_vit.data.examples import Data
from keras_vit.data.kinds import CLASSES, LabelKind
from keras_vit.data.split import carve


def load(
    spec: str,
    *,
    labels: LabelKind = CLASSES,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    seed: int = 0,
    skip_bad: bool = False,
    progress: bool = True,
) -> Data:
    """Reads, checks and splits a data set.

    Args:
        spec: where the data is; what it may be depends on the kind of labels.
            Classes: an image folder (train/ val/ test/ with class folders, or class folders), a folder with a CSV or
            the CSV itself (columns file, label[, split]), an .npz (x_train, y_train, ...), a folder that `keras-vit
            data pack` wrote, `tfds:NAME[:config]`, or `digits` (scikit-learn's 1797 handwritten digits).
            Masks: a folder with images/ and masks/ (splits around or inside them), a CSV (file, mask[, split]), an .npz
            whose y are masks, or `tfds:NAME[:config]`.
            Boxes: COCO's JSON files or one of them, Pascal VOC's or YOLO's folders, or `tfds:NAME[:config]`.
        labels: the kind of labels.
        val_fraction, test_fraction: shares of the images (of each class, where an image has one) that are set aside
            when the data has no such split; 0 for none.
        seed: fixes that split.
        skip_bad: leave images out that are unreadable or wrongly labelled, instead of failing.
        progress: show a progress bar while images are checked.

    Returns:
        The checked data.

    Raises:
        InputError: the data cannot be used; the sentence names the thing and the remedy.
    """
    spec = str(spec)
    kind, name = labels.kind_of(spec)
    source = labels.readers[kind](name)
    labels.check(source)
    source.splits, left_out = check.preflight(
        source.splits, skip_bad=skip_bad, progress=progress, inspect=labels.inspect
    )
    labels.check(source)
    source = carve(source, val_fraction=val_fraction, test_fraction=test_fraction, seed=seed, strata=labels.strata)
    return Data(
        train=source.splits["train"],
        val=source.splits.get("val"),
        test=source.splits.get("test"),
        class_names=source.class_names,
        fingerprint=check.fingerprint(source.splits, source.class_names),
        notes=[*source.notes, *left_out, *check.leakage(source.splits, source.class_names)],
        spec=spec,
    )
