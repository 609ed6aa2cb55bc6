"""One episode of a data set: its pictures, its actions, its rate."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.errors import PermanentError, UserError

Picture = npt.NDArray[np.uint8]
BAD_EPISODE = "bad_episode"
MOST_FRAMES = 10_000_000
_PICTURE_WORDS = ("image", "rgb", "pixel", "frame", "observation", "obs", "camera")
_LARGEST_SIDE = 4096


class BadEpisodeError(PermanentError):
    """An episode, or a file of episodes, that cannot be read; the message says why, and what would be right."""

    def __init__(self, message: str) -> None:
        super().__init__(message, error_class=BAD_EPISODE)


@dataclass(frozen=True)
class Episode:
    """An episode that is read when its turn comes."""

    name: str
    """Where it lies: a path relative to the data set, and its place in the file."""
    num_frames: int
    pictures: Callable[[], Iterator[Picture]] | None
    """Yields its pictures (H, W, 3), uint8; None where it has a video."""
    actions: Callable[[], Any]
    """Returns its actions: an array (N,) or (N, D), or a list of names."""
    fps: float | None
    """None where the data set does not say."""
    video: Path | None = None
    """A video of it, which is copied as it is."""
    description: str = ""
    """What the data set says of it, such as its task."""


class BadPart(NamedTuple):
    """A part of a data set that gives no episode."""

    name: str
    why: str


Read = Generator[Episode | BadPart, None, None]


class Pixels(Protocol):
    """An array of pictures, in memory or in a file, that is read by slices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (T, H, W, 3), (T, 3, H, W) or (T, H, W)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return its type."""

    def __getitem__(self, key: slice, /) -> Any:
        """Return a part of it."""


def is_pictures(array: Pixels) -> bool:
    """Tell whether an array may be pictures over time."""
    shape = array.shape
    sides = shape[2:4] if len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3) else shape[1:3]
    layout = len(shape) == 3 or (len(shape) == 4 and (shape[3] in (1, 3) or shape[1] in (1, 3)))
    return layout and array.dtype.kind in "uf" and all(8 <= side <= _LARGEST_SIDE for side in sides)


def pick_pictures(arrays: Sequence[tuple[str, Pixels]], camera: str) -> tuple[str, Pixels]:
    """Return the name and the array of the pictures of an episode.

    Args:
        arrays: all arrays, by name.
        camera: the name that is asked for, or a part of it; "" where there is but one.

    Raises:
        UserError: there are several and none is asked for, or not the one that is.
        BadEpisodeError: there are none.
    """
    found = [(name, array) for name, array in arrays if is_pictures(array)]
    named = [pair for pair in found if any(word in pair[0].lower() for word in _PICTURE_WORDS)] or found
    if not found:
        there = ", ".join(f"{name} {array.shape}" for name, array in arrays[:8]) or "nothing"
        raise BadEpisodeError(f"it holds no pictures (T, H, W, 3) of 8 to {_LARGEST_SIDE} pixels; it holds {there}")
    if camera:
        exact = [pair for pair in found if pair[0] == camera] or [pair for pair in found if camera in pair[0]]
        if len(exact) != 1:
            raise UserError(f"--camera {camera}: {_names(exact or found)}; name one of them in full")
        return exact[0]
    if len(named) > 1:
        raise UserError(f"several arrays hold pictures ({_names(named)}): name one with --camera")
    return named[0]


def _names(pairs: Sequence[tuple[str, Pixels]]) -> str:
    return ", ".join(name for name, _ in pairs[:8])


def pictures_of(array: Pixels, start: int, stop: int) -> Iterator[Picture]:
    """Yield the pictures of a part of an array, (H, W, 3), uint8, a few in memory at a time.

    Raises:
        BadEpisodeError: values of fractions are not from 0 to 1.
    """
    for at in range(start, stop, 64):
        part = np.asarray(array[at : min(stop, at + 64)])
        if part.ndim == 3:
            part = part[..., None]
        elif part.shape[3] not in (1, 3):
            part = part.transpose(0, 2, 3, 1)
        if part.dtype.kind == "f":
            if not (np.isfinite(part).all() and part.min() >= 0 and part.max() <= 1):
                raise BadEpisodeError("its pictures are fractions outside of 0 to 1, or NaN: store them as uint8")
            part = np.rint(part * 255)
        elif part.dtype != np.uint8 and part.max(initial=0) > 255:
            raise BadEpisodeError(f"its pictures are {part.dtype} above 255: store them as uint8")
        yield from np.broadcast_to(part, (*part.shape[:3], 3)).astype(np.uint8)


def split_at(ends: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (start, stop) of each episode of steps in a row; a step at which `ends` holds is the last of its episode.

    What follows the last end is an episode too: it was cut off.
    """
    stops = [*(np.flatnonzero(ends) + 1).tolist()]
    if not stops or stops[-1] < len(ends):
        stops.append(len(ends))
    return list(zip([0, *stops[:-1]], stops, strict=True))
