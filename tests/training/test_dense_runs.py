"""Segmentation and detection runs from images to the run folder, and on through `evaluate` and `predict`."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_vit.cli.main import main
from keras_vit.errors import InputError
from keras_vit.evaluation import load_looks
from keras_vit.training import Recipe, train
from keras_vit.training.keep import KeepState
from keras_vit.training.pace import PACE
from keras_vit.training.recipe import set_path


def settings(task: str, shapes, out, **changes) -> dict:
    recipe = {
        "data": {"spec": str(shapes)},
        "task": task,
        "model": {"name": "vit_mu8", "image_size": [36, 48], "init": "xavier", "position_init": "sincos"},
        "augment": {"scale": [0.8, 1.2], "color": 0.1},
        "train": {"epochs": 2, "learning_rate": 3e-3, "warmup_epochs": 1},
        "out": str(out),
    }
    for path, value in changes.items():
        set_path(recipe, path, value)
    return recipe


LIVELY = {
    "segmentation": {"train.epochs": 12, "options": {"class_weights": "sqrt", "dice": 0.5}},
    "detection": {"train.epochs": 16, "model.head_options": {"width": 32, "depth": 1, "strides": [8, 16]}},
}
"""What each task needs to learn the shapes."""
FIGURES = {"segmentation": ("miou", 0.6), "detection": ("ap50", 0.5)}


@pytest.fixture(scope="module", params=["segmentation", pytest.param("detection", marks=pytest.mark.slow)])
def finished(request, shapes, tmp_path_factory):
    out = tmp_path_factory.mktemp("dense") / request.param
    return train(Recipe.from_dict(settings(request.param, shapes, out, **LIVELY[request.param])), progress=False)


def test_it_learns_and_leaves_everything_behind(finished):
    name, least = FIGURES[finished.recipe.task]
    assert finished.metrics["test"][name] >= least
    assert finished.recipe.train.batch_size == 8
    watched = finished.history[next(iter(finished.task.goals))]
    assert max(watched) > watched[0]
    assert (finished.folder / "evaluation" / "test_mistakes.png").is_file()
    page = (finished.folder / "report.html").read_text()
    assert "Worst mistakes (test)" in page
    assert all(
        row["name"] in page for row in json.loads((finished.folder / "evaluation/test_per_class.json").read_text())
    )


def test_the_report_shows_the_worst_and_the_best_and_what_was_looked_at(finished, shapes):
    looks = load_looks(finished.folder / "evaluation", "test")
    assert len(looks.worst) == 6  # of eight images
    assert len(looks.best) == 2
    for look in (*looks.worst, *looks.best):
        assert look.panels[:2] == ("prediction", "truth")
        assert set(look.legend) <= set(finished.class_names)
        assert look.name.startswith("images/")
        if len(look.panels) == 3:
            assert look.panels[2].startswith("for ")
        assert Image.open(io.BytesIO(look.picture)).size == (len(look.panels) * 326 - 6, 240)
    assert any(len(look.panels) == 3 for look in looks.worst)
    scores = [look.words[-1] for look in (*looks.worst, *looks.best[::-1])]
    if finished.recipe.task == "segmentation":
        shares = [float(score.removesuffix("% of the pixels right")) for score in scores]
        assert shares == sorted(shares)
        assert shares[0] < shares[-1]
    else:
        mistakes = [int(score.removeprefix("objects missed or invented: ")) for score in scores]
        assert mistakes == sorted(mistakes, reverse=True)
    page = (finished.folder / "report.html").read_text()
    assert "<h2>Worst examples</h2>" in page
    assert "<h2>Best examples</h2>" in page


def test_tensorboard_shows_what_was_looked_at_and_what_is_alike(finished):
    logs = finished.folder / "logs"
    events = EventAccumulator(str(logs / "looks"), size_guidance={"tensors": 0})
    events.Reload()
    assert set(events.Tags()["tensors"]) == {"validation attention", "validation features", "attention distance"}
    assert len(events.Tensors("validation attention")) == 3
    assert (logs / "outcome" / "projector_config.pbtxt").is_file()
    rows = (logs / "outcome" / "features_metadata.tsv").read_text().splitlines()
    kinds = {row.split("\t")[0] for row in rows[1:]}
    assert len(rows) == 1 + 8
    assert kinds == ({"background"} if finished.recipe.task == "segmentation" else {"red", "green", "blue"})
    assert len((logs / "outcome" / "features.tsv").read_text().splitlines()) == 8


def test_evaluate_gives_the_same_figures(finished, capsys):
    assert main(["evaluate", str(finished.folder)]) == 0
    told = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("{"))
    again = json.loads(told)["test"]
    for name, value in finished.metrics["test"].items():
        assert again[name] == (value if value is None else pytest.approx(value, rel=1e-5)), name


def test_predict_draws_and_tells(finished, shapes, tmp_path, capsys):
    photos = [str(shapes / "test" / "images" / f"{index}.png") for index in range(3)]
    drawn, table = tmp_path / "drawn", tmp_path / "said.csv"
    assert main(["predict", str(finished.folder), *photos, "--draw", str(drawn), "--csv", str(table)]) == 0
    assert sorted(path.name for path in drawn.iterdir()) == ["0.png", "1.png", "2.png"]
    assert Image.open(drawn / "0.png").mode == "RGB"
    with open(table) as file:
        assert {row["file"] for row in csv.DictReader(file)} <= set(photos)
    capsys.readouterr()
    assert main(["predict", str(finished.folder), photos[0], "--json", "-"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["file"] == photos[0]


def test_predictions_are_in_the_pixels_of_the_image(shapes, finished, tmp_path):
    """An image of another size and shape: what is said of it has its size."""
    from keras_vit.data import find_images
    from keras_vit.tasks import outputs_of

    image = Image.open(shapes / "test" / "images" / "0.png").resize((200, 90), Image.Resampling.BICUBIC)
    image.save(tmp_path / "wide.png")
    examples, _ = find_images([str(tmp_path)], progress=False)
    (said,) = finished.task.predictions(outputs_of(finished.model), examples, finished.preprocessing, progress=False)
    if finished.recipe.task == "segmentation":
        assert said.shape == (90, 200)
    else:
        assert (said.boxes[:, [2, 3]] <= [200, 90]).all()
        assert said.boxes[:, 2].max() > 48


def test_a_zoomed_image_is_seen_by_windows(shapes, finished):
    if finished.recipe.task != "segmentation":
        pytest.skip("only segmentation zooms")
    import dataclasses

    from keras_vit.data import load
    from keras_vit.data.kinds import MASKS
    from keras_vit.tasks import evaluate

    task = dataclasses.replace(finished.task, zoom=1.5, mirrored=True)
    test = load(str(shapes), labels=MASKS, progress=False).test
    figures = evaluate(finished.model, test, task, progress=False).figures
    assert figures["miou"] > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("task", list(LIVELY))
def test_a_resumed_run_is_the_uninterrupted_one(task, shapes, tmp_path, monkeypatch):
    changes = {"train.ema": 0.9, "model.drop_path": 0.1, "train.layer_decay": 0.8, "train.epochs": 3}
    whole = train(Recipe.from_dict(settings(task, shapes, tmp_path / "whole", **changes)), progress=False)
    part = settings(task, shapes, tmp_path / "part", **changes)

    class Stop(Exception):
        pass

    def stopping(self, epoch, logs=None):
        kept(self, epoch, logs)
        if epoch == 1:
            raise Stop

    kept = KeepState.on_epoch_end
    with monkeypatch.context() as patch:
        patch.setattr(KeepState, "on_epoch_end", stopping)
        with pytest.raises(Stop):
            train(Recipe.from_dict(part), progress=False)
    resumed = train(Recipe.from_dict(part), resume=True, progress=False)
    for name in set(whole.history) - set(PACE):
        np.testing.assert_allclose(resumed.history[name], whole.history[name], rtol=1e-3, atol=1e-5, err_msg=name)


MIRRORED = """
import json, sys
from keras_vit.training import Recipe, train
run = train(Recipe.from_dict(json.loads(sys.argv[1])), progress=False)
print("FOUND" + json.dumps(run.history))
"""


@pytest.mark.slow
@pytest.mark.parametrize("task", list(LIVELY))
def test_two_mirrored_devices_learn_what_one_does(task, shapes, tmp_path):
    changes = {"train.ema": 0.9, "train.layer_decay": 0.8, "augment.scale": [0.8, 1.2]}
    one = train(Recipe.from_dict(settings(task, shapes, tmp_path / "one", **changes)), progress=False)
    two = settings(task, shapes, tmp_path / "two", **changes, **{"train.devices": "cpu:2"})
    done = subprocess.run([sys.executable, "-c", MIRRORED, json.dumps(two)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.split("FOUND")[1])
    for name in set(one.history) - set(PACE):
        np.testing.assert_allclose(found[name], one.history[name], rtol=2e-3, atol=2e-3, err_msg=name)


@pytest.mark.parametrize(
    ("task", "changes", "sentence"),
    [
        ("segmentation", {"options": {"dize": 1.0}}, "The task segmentation has no option 'dize': did you mean 'dice'"),
        ("segmentation", {"options": {"class_weights": "mean"}}, "There are no class weights 'mean'"),
        ("segmentation", {"options": {"class_weights": [1.0]}}, "There are 1 class weights for 4 classes"),
        ("segmentation", {"options": {"overlap": 1.0}}, "options.overlap is at least 0 and below 1"),
        ("segmentation", {"model.head": "masc"}, "There is no segmentation head 'masc': did you mean 'mask'"),
        ("segmentation", {"model.head_options": {"widht": 8}}, "has no option 'widht'"),
        ("segmentation", {"train.monitor": "val_top1"}, "monitor 'val_top1' is not known"),
        ("detection", {"options": {"box_loss": "iou2"}}, "There is no box_loss 'iou2'"),
        ("detection", {"train.label_smoothing": 0.1}, "Detection knows no label smoothing"),
        ("detection", {"augment.mixup": 0.2}, "mixup"),
    ],
)
def test_settings_that_cannot_be_used(task, changes, sentence, shapes, tmp_path):
    with pytest.raises(InputError) as caught:
        train(Recipe.from_dict(settings(task, shapes, tmp_path / "r", **changes)), progress=False)
    assert sentence in str(caught.value)
    assert not (tmp_path / "r").exists()
