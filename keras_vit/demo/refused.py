"""What a request may be told instead of an answer."""

from __future__ import annotations

from http import HTTPStatus

from keras_vit.errors import InputError


class Refused(InputError):
    """A request that gets no answer: one sentence, and the status that says why.

    Attributes:
        status: of HTTP.
        headers: that go with it.
    """

    def __init__(self, status: HTTPStatus, sentence: str, **headers: str):
        super().__init__(sentence)
        self.status, self.headers = status, headers
