"""A page without a browser: it speaks the play page's protocol over a websocket."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from models.play.messages import unpack


class Page:
    """One connection; frames are acknowledged as they come, unless told otherwise."""

    def __init__(self, send: Callable[[str], Any], receive: Callable[[], bytes]) -> None:
        self._send, self._receive = send, receive
        self.header: dict[str, Any] = {}
        self.pictures: list[bytes] = []
        self.acknowledges = True

    def say(self, kind: str, **fields: Any) -> None:
        self._send(json.dumps({"type": kind, **fields}))

    def hear(self, kind: str | None = None) -> dict[str, Any]:
        """Return the next message, or the next one of a type; an error that is not asked for fails."""
        while True:
            self.header, pictures = unpack(self._receive())
            if self.header["type"] == "frame":
                self.pictures = pictures
                if self.acknowledges:
                    self.say("ack", node=self.header["node"])
            if kind in (None, self.header["type"]):
                return self.header
            assert self.header["type"] not in ("error", "full", "gone"), self.header

    def start(self, **fields: Any) -> dict[str, Any]:
        """Start a game, and return `started`; its first frame is the newest."""
        begun = {} if "link" in fields else {"start": "held_out:0"}
        self.say("start", **(begun | fields))
        started = self.hear("started")
        self.hear("frame")
        return started

    def act(self, action: int, n: int = 0) -> dict[str, Any]:
        self.say("act", action=action, n=n)
        return self.hear("frame")

    @property
    def pixels(self) -> np.ndarray:
        return pixels_of(self.pictures[0])


def pixels_of(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture)
