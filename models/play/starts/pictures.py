"""The pictures that players sent, the newest 64 of them, in memory alone.

A picture has the name `picture:ID`, and its id is a hash of its pixels: sending it again gives the same name, and so a
link that starts from it works again. Nothing else of an upload is kept.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch

from models.play.starts.fitting import Fit
from models.play.starts.known import Known

MAX_PICTURES = 64
PICTURE = "picture:"


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that a game can start from."""

    frame_HWC: np.ndarray
    """Fitted to the size of the world's frames."""
    how: Fit
    tokens_1P: torch.Tensor
    shown_HWC: np.ndarray
    """What the tokenizer makes of it: the first frame of a game."""
    known: Known


class Pictures:
    """Pictures by name; the one that was sent or used the longest ago makes room."""

    def __init__(self, most: int = MAX_PICTURES) -> None:
        """Begin without a picture."""
        self._most = most
        self._kept: OrderedDict[str, Picture] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, picture: Picture) -> str:
        """Keep a picture, and return its name."""
        name = PICTURE + frame_digest(picture.frame_HWC, 24)
        self._kept[name] = picture
        self._kept.move_to_end(name)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return name

    def get(self, name: str) -> Picture:
        """Return a picture; KeyError where it is not kept."""
        picture = self._kept[name]
        self._kept.move_to_end(name)
        return picture


def frame_digest(frame_HWC: np.ndarray, length: int) -> str:
    """Return hexadecimal digits that tell the pixels of a frame from those of others."""
    frame = np.ascontiguousarray(frame_HWC)
    return hashlib.sha256(repr(frame.shape).encode() + frame.tobytes()).hexdigest()[:length]
