"""What is said about one photo: by whom, how fast, whether the run's own model agrees, and what that looked at."""

from __future__ import annotations

import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import numpy as np

from keras_vit.data import Examples, image_dataset
from keras_vit.demo import models
from keras_vit.demo.photo import read_photo
from keras_vit.demo.pictures import data_url, shrunk
from keras_vit.demo.refused import Refused
from keras_vit.errors import InputError, suggest
from keras_vit.explain import METHODS, replay_of, saliency
from keras_vit.explain.overlay import overlay
from keras_vit.export.benchmark import Contender, contenders_of
from keras_vit.export.predictor import Predictor, load
from keras_vit.tasks.task import original
from keras_vit.training.run import MODEL

if TYPE_CHECKING:
    from keras_vit.training.run import Run

TOP = 5
"""Classes that are told of a classified photo."""
MEGAPIXELS = 50.0


class Demo:
    """A run, or an exported file, that says what it sees in photos.

    Nothing of a photo is kept: not in memory after its answer, and never on the disk. Models are loaded when they are
    first asked, and work on one photo at a time, whatever thread asks.

    Args:
        found: a run, or an exported file.
        run: the run that the file lies in; without it nobody can say what the file agrees with or looked at.
        method: how the page looks inside at first, a key of `keras_vit.explain.METHODS`.
        max_megapixels: photos with more pixels are refused before they are decoded.

    Attributes:
        choices: those that can answer, by name: the exported files and the run's `model.keras`.
        default: the file that was given, or else the fastest float one.
        lock: held while a photo is worked on.

    Raises:
        InputError: there is no such method.
    """

    def __init__(
        self,
        found: Run | Predictor,
        run: Run | None = None,
        *,
        method: str = "relevance",
        max_megapixels: float = MEGAPIXELS,
    ):
        if method not in METHODS:
            raise InputError(f"There is no method {method!r}: {suggest(method, METHODS)}")
        if not max_megapixels > 0:
            raise InputError(f"--max-megapixels is above 0, not {max_megapixels}.")
        given = found if isinstance(found, Predictor) else None
        self.run = run if given else found
        self.method, self.max_pixels = method, round(max_megapixels * 1e6)
        contenders = contenders_of(self.run or given)
        # The run's own model stands last: the demo is about what is shipped.
        self.choices: dict[str, Contender] = {c.name: c for c in sorted(contenders, key=lambda c: c.name == MODEL)}
        if given:
            self.choices.setdefault(given.path.name, *contenders_of(given))
            self.default = given.path.name
        else:
            self.default = models.fastest_float(self.run.folder / "export", self.choices) or MODEL
        self.lock = threading.RLock()
        self._given = given
        self._models: dict[str, models.Answering] = {}

    @property
    def title(self) -> str:
        """The run's name, or the file's."""
        return self.run.folder.absolute().name if self.run else self.default

    @property
    def class_names(self) -> tuple[str, ...]:
        """What can be seen."""
        return tuple(self.run.class_names) if self.run else self._model(self.default).task.class_names

    def warm_up(self) -> None:
        """Loads who answers by default and the run's own model, so that the first photo does not wait for them.

        Raises:
            InputError: one of them cannot be opened.
        """
        for name in {self.default, MODEL} & set(self.choices):
            self._model(name)

    def answer(self, content: bytes, name: str | None = None) -> dict:
        """What a file sees in a photo, as `keras-vit predict` says it.

        Args:
            content: of an image file.
            name: who answers, of `choices`.

        Returns:
            `{"file", "size_bytes", "milliseconds", "calls", "width", "height", "said", "seen", "picture",
            "agreement"}`: `said` is the row of `Task.describe`; `seen` is what a page draws bars for, a list of
            `{"name", "share", "wanted"}`, the last for `look`; `picture` is a `data:` URL of the photo with what was
            seen drawn over it, None where bars say all; `agreement` is what `model.keras` says to it, a sentence, None
            where nobody can tell.

        Raises:
            Refused: see `read_photo`; or there is no such file.
        """
        name = name or self.default
        if name not in self.choices:
            raise Refused(HTTPStatus.BAD_REQUEST, f"There is no file {name!r} here: {suggest(name, self.choices)}")
        with self.lock:
            model = self._model(name)
            photo = self._examples(content)
            watched = models.Watched(model)
            # One view at a time, as in the first call: a model is slower where it meets another batch size.
            (seen,) = model.task.predictions(watched, photo, model.preprocessing, batch_size=1, progress=False)
            said = model.task.describe(seen, "photo", TOP)
            picture = None
            if "top" not in said:
                image = original(photo, 0, model.preprocessing.channels)
                picture = data_url(model.task.overlay(image, seen))
            height, width = photo.images.shape[1:3]
            return {
                "file": name,
                "size_bytes": self.choices[name].size_bytes,
                "milliseconds": watched.milliseconds,
                "calls": len(watched.views),
                "width": width,
                "height": height,
                "said": said,
                "seen": _bars(said, own=name == MODEL),
                "picture": picture,
                "agreement": self._agreement(name, watched),
            }

    def look(self, content: bytes, method: str | None = None, wanted: str | None = None) -> dict:
        """What the run's own model looked at in a photo.

        Args:
            content: of an image file.
            method: a key of `keras_vit.explain.METHODS`.
            wanted: a class by its name, or an object by its rank; by default what the model says itself.

        Returns:
            `{"picture", "of", "method", "seconds"}`: a `data:` URL of the photo with the map over it, and what it
            speaks for, None for methods whose map is the same whatever the answer is; or `{"problem"}`, a sentence,
            where there is nothing to explain.

        Raises:
            Refused: see `read_photo`; there is no such method, or no run.
        """
        method = method or self.method
        if self.run is None:
            raise Refused(HTTPStatus.NOT_FOUND, f"{self.default} lies in no run, whose model could be looked into.")
        if method not in METHODS:
            raise Refused(HTTPStatus.BAD_REQUEST, f"There is no method {method!r}: {suggest(method, METHODS)}")
        with self.lock:
            model = self._model(MODEL)
            photo = self._examples(content)
            (views,) = image_dataset(photo, model.preprocessing, batch_size=1)
            views, start, aim = np.asarray(views), time.perf_counter(), None
            if METHODS[method].aimed:
                try:
                    aim = model.task.aim(model.call(views), wanted or None)
                except InputError as error:
                    return {"problem": str(error)}
            heat = saliency(self.run.model, views, method, aim=aim, task=model.task)[0]
            seconds = time.perf_counter() - start
            replay, image = replay_of(self.run.model), original(photo, 0, model.preprocessing.channels)
            cell = replay.patch_size if heat.shape == replay.grid else None
            drawn = overlay(shrunk(image), heat, model.preprocessing, patch_size=cell)
            of = aim.names[0] if aim else None
            return {"picture": data_url(drawn), "of": of, "method": method, "seconds": seconds}

    def _examples(self, content: bytes) -> Examples:
        return Examples(np.zeros(1, np.int64), images=read_photo(content, self.max_pixels)[None])

    def _model(self, name: str) -> models.Answering:
        """Loaded and called once, for a first call is slower than all others."""
        if name not in self._models:
            if name == MODEL and self.run is not None:
                model = models.of_run(self.run)
            else:
                given = self._given and self._given.path.name == name
                model = models.of_file(self._given if given else load(self.choices[name].path))
            model.call(np.zeros((1, *model.preprocessing.image_size, model.preprocessing.channels), "float32"))
            self._models[name] = model
        return self._models[name]

    def _agreement(self, name: str, watched: models.Watched) -> str | None:
        """What the run's own model makes of the same views."""
        if self.run is None or name == MODEL:
            return None
        source, task = self._model(MODEL), watched.model.task
        if not source.comparable(watched.model):
            return f"{MODEL} takes other images or knows other classes: {name} was not exported from it."
        agreed = of = 0
        for view, given in zip(watched.views, watched.given, strict=True):
            expected = source.shipped(source.call(view[None]))[0]
            counts = task.same(watched.model.shipped(given[None])[0], expected)
            agreed, of = agreed + counts[0], of + counts[1]
        if of > 1:
            return f"{MODEL} and {name} decide {agreed:,} of {of:,} alike ({100 * agreed / of:.1f} %)."
        if not of:
            return f"{MODEL} is sure of nothing here."
        index, share = task.told(expected, 1)[0]
        verdict = "agrees" if agreed else "disagrees"
        return f"{MODEL} {verdict}: {task.class_names[index]}, {100 * share:.1f} %."


def _bars(said: dict, *, own: bool) -> list[dict]:
    """What a row of `Task.describe` says of classes, as names and shares 0..1; nothing where it says something else.

    Of objects that the run's own model has found, `wanted` is the rank. A file's may rank otherwise: there it is the
    class, as everywhere else.
    """
    if "top" in said:
        pairs = [(guess["name"], guess["probability"]) for guess in said["top"]]
    elif "shares" in said:
        pairs = list(said["shares"].items())
    else:
        pairs = [(found["class"], found["score"]) for found in said.get("objects", [])]
    ranked = own and "objects" in said
    return [
        {"name": name, "share": share, "wanted": str(rank) if ranked else name}
        for rank, (name, share) in enumerate(pairs)
    ]
