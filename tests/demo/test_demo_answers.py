"""What the demo says of a photo is what `keras-vit predict` says, whatever the photo's format."""

from __future__ import annotations

import base64
import io
import json
import shutil
import threading

import numpy as np
import pytest
import yaml
from demo_helpers import Client, encode
from PIL import Image

import keras_vit
from keras_vit.cli.main import main
from keras_vit.demo import Demo, Server
from keras_vit.demo.models import fastest_float
from keras_vit.errors import InputError
from keras_vit.explain import METHODS
from keras_vit.export import load
from keras_vit.export.metadata import add_metadata
from keras_vit.training import Recipe, load_run


def picture(url: str) -> np.ndarray:
    kind, _, data = url.partition(",")
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data, validate=True))))


def variants(photo: np.ndarray) -> dict[str, bytes]:
    """The photo in many formats."""
    image, side = Image.fromarray(photo), Image.Exif()
    side[0x0112] = 6
    return {
        "rgb.png": encode(image, "PNG"),
        "rgba.png": encode(image.convert("RGBA"), "PNG"),
        "palette.png": encode(image.quantize(16), "PNG"),
        "grey.png": encode(image.convert("L"), "PNG"),
        "deep.png": encode(Image.fromarray(photo[..., 0].astype("uint16") * 256), "PNG"),
        "rgb.jpg": encode(image, "JPEG"),
        "grey.jpg": encode(image.convert("L"), "JPEG"),
        "cmyk.jpg": encode(image.convert("CMYK"), "JPEG"),
        "on_its_side.jpg": encode(image.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=side),
        "rgb.webp": encode(image, "WEBP"),
        "moving.webp": encode(image, "WEBP", save_all=True, append_images=[image.rotate(90)]),
        "rgb.bmp": encode(image, "BMP"),
        "palette.gif": encode(image.quantize(16), "GIF"),
        "moving.gif": encode(image.quantize(16), "GIF", save_all=True, append_images=[image.rotate(90)]),
    }


@pytest.mark.parametrize("file", ["model.tflite", "model.keras"])
def test_the_answer_is_that_of_predict(file, own, client, photo, tmp_path, capsys):
    contents = variants(photo)
    if file == "model.keras":
        contents = {name: contents[name] for name in ("rgb.jpg", "rgb.webp", "moving.webp")}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    source = own / "export" / file if file == "model.tflite" else own
    # TensorFlow reads several frames of a WebP as one long picture: predict refuses those.
    (tmp_path / "moving.webp").rename(tmp_path / "moving")
    assert main(["predict", str(source), str(tmp_path), "--json", "-"]) == 0
    expected = {row["file"].rpartition("/")[2]: row["top"] for row in json.loads(capsys.readouterr().out)}
    (tmp_path / "moving").rename(tmp_path / "moving.webp")
    expected["moving.webp"] = expected["rgb.webp"]
    for name, content in contents.items():
        status, said = client.post(f"/answer?file={file}", content)
        assert status == 200
        assert (said["file"], said["width"], said["height"]) == (file, 64, 48)
        found = {guess["name"]: guess["probability"] for guess in said["said"]["top"]}
        tolerance = 2e-2 if name == "moving.webp" else 1e-5
        assert found == pytest.approx({g["name"]: g["probability"] for g in expected[name]}, abs=tolerance), name
        shares = {row["name"]: row["share"] for row in said["seen"]}
        assert shares == found
        assert said["milliseconds"] > 0
        assert said["calls"] == 1
        assert said["picture"] is None


def test_who_answers_and_whether_the_model_agrees(own, client, photo):
    content = encode(photo, "PNG")
    _, default = client.post("/answer", content)
    assert default["file"] == "model.tflite"
    assert default["size_bytes"] == (own / "export" / "model.tflite").stat().st_size
    best = default["seen"][0]
    assert default["agreement"] == f"model.keras agrees: {best['name']}, {100 * best['share']:.1f} %."
    _, itself = client.post("/answer?file=model.keras", content)
    assert itself["agreement"] is None


def test_a_file_that_disagrees_or_is_not_the_runs(own, tmp_path, photo):
    folder = shutil.copytree(own, tmp_path / "run")
    run = load_run(folder)
    kernel, bias = run.model.get_layer("head").get_weights()
    run.model.get_layer("head").set_weights([kernel, bias + np.array([50, 0, 0])])
    run.model.save(folder / "model.keras")
    foreign = shutil.copy(folder / "export" / "model.tflite", folder / "export" / "foreign.tflite")
    add_metadata(foreign, name="foreign", class_names=["a", "b", "c"], preprocessing=run.preprocessing)
    demo, content = Demo(load_run(folder)), encode(photo, "PNG")
    assert list(demo.choices) == ["foreign.tflite", "model.tflite", "model.keras"]
    assert demo.answer(content)["seen"][0]["name"] != "left"
    assert demo.answer(content)["agreement"] == "model.keras disagrees: left, 100.0 %."
    assert "was not exported from it" in demo.answer(content, "foreign.tflite")["agreement"]


@pytest.mark.parametrize("method", METHODS)
def test_what_the_model_looked_at(method, client, photo, run):
    status, found = client.post(f"/look?method={method}", encode(photo, "PNG"))
    assert status == 200
    assert picture(found["picture"]).shape == (48, 64, 3)
    assert found["of"] in (run.class_names if METHODS[method].aimed else [None])
    assert found["method"] == method
    assert found["seconds"] > 0


def test_what_speaks_for_another_class(client, photo):
    content, pictures = encode(photo, "PNG"), {}
    for name in ("left", "right"):
        _, found = client.post(f"/look?method=gradcam&wanted={name}", content)
        assert found["of"] == name
        pictures[name] = picture(found["picture"])
    assert (pictures["left"] != pictures["right"]).any()
    status, found = client.post("/look?wanted=lft", content)
    assert (status, found) == (200, {"problem": "There is no class 'lft': did you mean 'left'?"})


def test_pictures_of_large_photos_are_no_larger_than_a_screen(own, photo):
    large = Image.fromarray(photo).resize((3000, 1500))
    found = Demo(load_run(own)).look(encode(large, "JPEG"), "rollout")
    assert picture(found["picture"]).shape == (640, 1280, 3)


def test_a_file_in_no_run(own, tmp_path, photo):
    demo = Demo(load(shutil.copy(own / "export" / "model.tflite", tmp_path)))
    server = Server()
    server.start(demo)
    try:
        client = Client(server)
        assert "lies in no run" in client.page
        assert 'id="method"' not in client.page
        status, said = client.post("/answer", encode(photo, "PNG"))
        assert (status, said["file"], said["agreement"]) == (200, "model.tflite", None)
        status, said = client.post("/look", encode(photo, "PNG"))
        assert (status, said["error"]) == (404, "model.tflite lies in no run, whose model could be looked into.")
    finally:
        server.stop()


def test_many_photos_at_once(client, photo, blobs):
    with np.load(blobs) as arrays:
        images, labels = arrays["x_test"][:12], arrays["y_test"][:12]
    answers = {}

    def ask(index):
        answers[index] = client.post("/answer", encode(images[index], "PNG"))

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers[i][0] for i in range(12)] == [200] * 12
    right = [answers[i][1]["seen"][0]["name"] == ["left", "middle", "right"][labels[i]] for i in range(12)]
    assert sum(right) >= 11


@pytest.fixture
def untrained(tmp_path):
    """Makes a run of a task out of a model that has learned nothing."""

    def make(task: str, names: list[str], **options):
        folder = tmp_path / task
        folder.mkdir()
        sizes = {"image_size": (24, 32), "seed": 1}
        preprocessing = keras_vit.Preprocessing(crop=1.0, fit="pad")
        model = keras_vit.build(
            "vit_mu4", task=task, num_classes=len(names), depth=2, preprocessing=preprocessing, **sizes
        )
        model.save(folder / "model.keras")
        recipe = {"data": {"spec": "none"}, "task": task, "model": {"name": "vit_mu4"}, "options": options}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(Recipe.from_dict(recipe).to_dict()))
        (folder / "labels.txt").write_text("\n".join(names))
        return load_run(folder)

    return make


def test_a_segmented_photo(untrained, photo):
    demo = Demo(untrained("segmentation", ["sky", "road", "tree"], zoom=2.0))
    said = demo.answer(encode(photo, "PNG"))
    assert (said["file"], said["agreement"]) == ("model.keras", None)
    assert said["calls"] == 9
    assert sum(row["share"] for row in said["seen"]) == pytest.approx(1)
    assert picture(said["picture"]).shape[1] >= 480
    found = demo.look(encode(photo, "PNG"), wanted=said["seen"][0]["name"])
    assert found["of"] == said["seen"][0]["name"]
    assert picture(found["picture"]).shape == (48, 64, 3)


def test_objects_in_a_photo(untrained, photo):
    demo = Demo(untrained("detection", ["cat", "dog"], shown_score=0.0))
    said = demo.answer(encode(photo, "PNG"))
    assert {row["name"] for row in said["seen"]} <= {"cat", "dog"}
    assert len(said["seen"]) == len(said["said"]["objects"]) > 0
    assert picture(said["picture"]).shape == (360, 480, 3)
    for row in said["seen"][:2]:
        found = demo.look(encode(photo, "PNG"), wanted=row["wanted"])
        assert picture(found["picture"]).shape == (48, 64, 3)
        assert found["of"] == f"{row['name']} {row['share']:.0%}"


def test_nothing_to_explain(untrained, photo):
    demo = Demo(untrained("detection", ["cat", "dog"], score_threshold=1.0))
    said = demo.answer(encode(photo, "PNG"))
    assert said["seen"] == []
    assert "was detected" in demo.look(encode(photo, "PNG"))["problem"]


def test_the_fastest_float_file_is_the_default(tmp_path):
    names = ["saved_model", "model.tflite", "model_float16.tflite", "model_int8.tflite"]
    assert fastest_float(tmp_path, names) == "saved_model"
    assert fastest_float(tmp_path, ["model_int8.tflite", "model.keras"]) is None
    times = {"saved_model": None, "model.tflite": 9.0, "model_float16.tflite": 8.0, "model_int8.tflite": 1.0}
    entries = [{"file": file, "latency_ms": time} for file, time in times.items()]
    (tmp_path / "report.json").write_text(json.dumps({"artifacts": entries}))
    assert fastest_float(tmp_path, names) == "model_float16.tflite"
    assert fastest_float(tmp_path, names[:2]) == "model.tflite"
    (tmp_path / "report.json").write_text("[]")
    assert fastest_float(tmp_path, names) == "saved_model"


def test_settings(own):
    with pytest.raises(InputError, match="did you mean 'rollout'"):
        Demo(load_run(own), method="rolout")
    with pytest.raises(InputError, match="--max-megapixels is above 0"):
        Demo(load_run(own), max_megapixels=0)
    with pytest.raises(InputError, match="--max-megabytes is above 0"):
        Server(max_megabytes=0)
