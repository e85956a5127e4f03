"""A whole run: what it learns, what it writes, that it repeats, and that it refuses to lose anything."""

from __future__ import annotations

import csv
import json
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import keras_vit
from keras_vit.data import load
from keras_vit.errors import InputError
from keras_vit.tasks.judging import outputs_of
from keras_vit.training import Recipe, fit, load_run, train
from keras_vit.training.checkpoints import last_state
from keras_vit.training.pace import PACE


def test_it_learns(run):
    assert run.metrics["test"]["top1"] >= 0.9
    assert run.history["loss"][0] > run.history["loss"][-1]


def test_the_folder_holds_what_the_design_says(run):
    for name in (
        "recipe.yaml",
        "model.keras",
        "labels.txt",
        "metrics.json",
        "history.csv",
        "report.html",
        "checkpoints/epoch-0006-step-000000.json",
        "evaluation/test_confusion.png",
        "evaluation/val_per_class.json",
        "evaluation/test_looks.json",
        "logs/outcome/projector_config.pbtxt",
    ):
        assert (run.folder / name).stat().st_size > 0, name
    assert not [path for path in run.folder.rglob("*") if "partial" in path.name]
    assert len(list((run.folder / "checkpoints").glob("*.safetensors"))) == 2


def test_metrics_have_the_stable_form(run):
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert set(metrics) == {"val", "test"}
    for figures in metrics.values():
        assert set(figures) == {"top1", "loss", "ece", "n"}  # three classes have no top-5
    assert metrics["test"]["n"] == 30


def test_history_csv_has_a_row_an_epoch(run):
    rows = list(csv.DictReader((run.folder / "history.csv").open()))
    assert [row["epoch"] for row in rows] == [str(n) for n in range(1, 7)]
    assert [float(row["val_top1"]) for row in rows] == pytest.approx(run.history["val_top1"])


def test_the_recipe_runs_again_and_says_where_it_comes_from(run):
    record = yaml.safe_load((run.folder / "recipe.yaml").read_text())
    assert record["provenance"]["versions"]["keras"] == keras.__version__
    assert len(record["provenance"]["data_fingerprint"]) >= 16
    assert record["provenance"]["data_counts"]["train"] == {"left": 32, "middle": 32, "right": 32}
    assert Recipe.read(run.folder / "recipe.yaml").to_dict() == run.recipe.to_dict()


def test_the_saved_model_is_the_best_epoch(run):
    state = last_state(run.folder / "checkpoints")
    assert state.best == max(run.history["val_top1"])
    assert state.best == pytest.approx(run.metrics["val"]["top1"])
    assert state.best_epoch == 1 + int(np.argmax(run.history["val_top1"]))


def test_load_run_gives_everything_back(run, blobs):
    again = load_run(run.folder)
    assert again.class_names == ["left", "middle", "right"]
    assert again.preprocessing == keras_vit.Preprocessing(image_size=(16, 16), crop=1.0)
    assert again.metrics == run.metrics
    test = load(str(blobs)).test
    logits = np.stack(list(again.task.predictions(outputs_of(again.model), test, again.preprocessing, progress=False)))
    assert (logits.argmax(1) == test.labels).mean() == pytest.approx(run.metrics["test"]["top1"])


def test_tensorboard_has_curves_and_pictures(run):
    def tags(folder, kind):
        events = EventAccumulator(str(run.folder / "logs" / folder), size_guidance={"tensors": 0})
        events.Reload()
        return set(events.Tags()[kind])

    expected = {"loss", "top1", "learning_rate", "gradient_norm", *PACE}
    assert {f"epoch_{name}" for name in expected} <= tags("train", "tensors")
    assert {"epoch_loss", "epoch_top1"} <= tags("validation", "tensors")
    assert {"training images", "validation predictions"} <= tags("pictures", "tensors")
    assert {"learning_rate/block_0", "weight_norm/head"} <= tags("weights", "tensors")
    graphs = EventAccumulator(str(run.folder / "logs" / "weights"))
    graphs.Reload()
    assert graphs.Graph().node
    assert {"confusion", "outcome/top1"} <= tags("outcome", "tensors")


def test_tensorboard_has_what_log_asks_for(tiny, tmp_path):
    changes = {"train.epochs": 2, "log.every": 5, "log.histograms": True, "log.profile": [2, 4]}
    logs = train(Recipe.from_dict(tiny(tmp_path / "r", **changes)), progress=False).folder / "logs"

    def read(folder):
        events = EventAccumulator(str(logs / folder), size_guidance={"tensors": 0})
        events.Reload()
        return events

    # Six steps an epoch: no epoch ends on a fifth step, and all have their figures all the same.
    assert [event.step for event in read("steps").Tensors("step_loss")] == [5, 10]
    assert [event.step for event in read("train").Tensors("epoch_loss")] == [0, 1]
    assert [event.step for event in read("validation").Tensors("epoch_loss")] == [0, 1]
    histograms = [tag for tag in read("train").Tags()["tensors"] if "histogram" in tag]
    assert any("block_0" in tag for tag in histograms)
    assert list((logs / "train" / "plugins" / "profile").rglob("*.xplane.pb"))


def test_a_pipeline_that_holds_up_the_model_is_told(tiny, tmp_path, monkeypatch, capsys):
    made = fit.training_data

    def slow_data(*args, **settings):
        def late(images, targets):
            with tf.control_dependencies([tf.numpy_function(lambda: time.sleep(0.2), [], [])]):
                return tf.identity(images), targets

        dataset, steps = made(*args, **settings)
        return dataset.map(late), steps

    monkeypatch.setattr(fit, "training_data", slow_data)
    run = train(Recipe.from_dict(tiny(tmp_path / "r", **{"train.epochs": 2})), progress=False)
    assert all(0.5 < share <= 1 for share in run.history["waiting"])
    assert "The input pipeline is the bottleneck" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"log.profile": [20, 10]}, "the first and the last step"),
        ({"log.profile": [0, 10]}, "the first and the last step"),
        ({"log.profile": [1, 2, 3]}, "the first and the last step"),
        ({"log.every": -1}, "log.every is at least 0"),
    ],
)
def test_wrong_logs(tiny, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        Recipe.from_dict(tiny("unused", **changes))


def test_a_seeded_run_repeats(tiny, tmp_path):
    changes = {"model.dropout": 0.1, "model.drop_path": 0.1, "model.depth": 2, "augment.mixup": 0.2, "train.ema": 0.9}
    one, two = (train(Recipe.from_dict(tiny(tmp_path / n, **changes)), progress=False) for n in ("one", "two"))
    without_speed = [{k: v for k, v in r.history.items() if k not in PACE} for r in (one, two)]
    assert without_speed[0] == without_speed[1]
    for a, b in zip(one.model.get_weights(), two.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_early_stopping(tiny, tmp_path):
    stopped = train(
        Recipe.from_dict(
            tiny(tmp_path / "r", **{"train.epochs": 20, "train.patience": 2, "train.learning_rate": 1e-7})
        ),
        progress=False,
    )
    assert len(stopped.history["loss"]) < 20


class TestRefusals:
    """Each is one sentence, and leaves nothing behind."""

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"model.name": "vit_x16"}, "There is no model 'vit_x16'"),
            ({"model.image_size": 18}, "use 16 or 20"),
            ({"data.spec": "nowhere/at/all"}, "nowhere/at/all"),
            ({"train.devices": "gpu:2"}, "2 GPUs were asked for and TensorFlow sees 0"),
            ({"train.devices": "tpu"}, "devices is auto, gpu:N, cpu:N or workers"),
            ({"train.precision": "float8"}, "precision 'float8' is not known"),
            ({"train.monitor": "val_topl"}, "monitor 'val_topl' is not known"),
            ({"train.monitor": "val_top5"}, "With 3 classes there is no val_top5 to watch"),
            ({"train.freeze": "all"}, "freeze is none, backbone or a number of blocks up to 1"),
            ({"train.batch_size": 15, "train.accumulate": 2}, "use a multiple of 2"),
            ({"train.batch_size": 128}, "fewer than one batch of 128"),
            ({"model.preprocessing": "imagnet"}, "did you mean 'imagenet'"),
            ({"task": "segmentaton"}, "There is no task"),
        ],
    )
    def test_settings_that_cannot_be_used(self, tiny, tmp_path, changes, sentence):
        with pytest.raises(InputError) as caught:
            train(Recipe.from_dict(tiny(tmp_path / "r", **changes)), progress=False)
        assert sentence in str(caught.value)
        assert not (tmp_path / "r").exists()

    def test_existing_folder(self, run, tiny):
        with pytest.raises(InputError, match="--resume continues it, --overwrite replaces it"):
            train(Recipe.from_dict(tiny(run.folder)))

    def test_folder_of_something_else_is_never_overwritten(self, tiny, tmp_path):
        (tmp_path / "thesis.tex").write_text("years of work")
        with pytest.raises(InputError, match="is no run folder"):
            train(Recipe.from_dict(tiny(tmp_path)), overwrite=True)
        assert (tmp_path / "thesis.tex").exists()

    def test_a_file_in_the_way(self, tiny, tmp_path):
        (tmp_path / "r").write_text("")
        with pytest.raises(InputError, match="cannot be written"):
            train(Recipe.from_dict(tiny(tmp_path / "r" / "s")))

    def test_nothing_to_resume(self, tiny, tmp_path):
        with pytest.raises(InputError, match="no run to resume"):
            train(Recipe.from_dict(tiny(tmp_path / "r")), resume=True)

    def test_resuming_on_other_data(self, run, tiny):
        with pytest.raises(InputError, match="not what the run"):
            train(Recipe.from_dict(tiny(run.folder, **{"data.spec": "digits"})), resume=True, progress=False)

    @pytest.mark.parametrize("changes", [{"model.depth": 2}, {"train.freeze": "backbone"}, {"train.ema": 0.9}])
    def test_resuming_with_another_model_or_optimizer(self, run, tiny, changes):
        settings = tiny(run.folder, **{"train.epochs": 9, **changes})
        with pytest.raises(InputError, match="does not fit this recipe"):
            train(Recipe.from_dict(settings), resume=True, progress=False)

    def test_divergence_is_said_and_keeps_the_last_good_epoch(self, tiny, tmp_path):
        with pytest.raises(InputError, match="Training diverged in epoch"):
            train(
                Recipe.from_dict(
                    tiny(tmp_path / "r", **{"train.learning_rate": 1e18, "train.clip_norm": 0, "train.epochs": 4})
                ),
                progress=False,
            )

    def test_no_run_folder(self, tmp_path):
        with pytest.raises(InputError, match="is no run folder"):
            load_run(tmp_path)
