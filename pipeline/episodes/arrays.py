"""Episodes from arrays, as Gymnasium-like programs record them: one set of arrays is an episode, or several in a row.

Names are those of the field: pictures in `observations` (or `images`, `pixels`, `obs/agentview_image`, ...), `actions`,
and, where several episodes lie in a row, where they end: `terminals`, `timeouts`, `terminations`, `truncations` or
`dones`. T pictures go with T or T - 1 actions.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.actions.sidecar import MOST_VALUES
from pipeline.episodes.episode import (
    MOST_FRAMES,
    BadEpisodeError,
    BadPart,
    Episode,
    Pixels,
    Read,
    pick_pictures,
    pictures_of,
    split_at,
)

_ACTIONS = ("actions", "action")
_ENDS = ("terminals", "terminal", "timeouts", "terminations", "truncations", "dones", "done")
_FPS = ("fps", "control_freq", "frame_rate")
_LARGEST = 16 << 30


def episodes_of(name: str, arrays: Sequence[tuple[str, Pixels]], camera: str, fps: float | None = None) -> Read:
    """Yield the episodes of a set of arrays.

    Args:
        name: where they lie.
        arrays: by name.
        camera: as of `pick_pictures`.
        fps: pictures a second, where the data set says so elsewhere.

    Raises:
        UserError: it must be said which pictures are meant.
    """
    by_name = {key.rpartition("/")[2]: array for key, array in reversed(arrays)}
    found = next((key for key in _ACTIONS if key in by_name), None)
    if found is None:
        there = ", ".join(key for key, _ in arrays[:8]) or "nothing"
        yield BadPart(name, f"it has no array `actions` (it has {there}): name the array of the actions so")
        return
    actions: Any = by_name[found]
    rate = next((_number(by_name[key]) for key in _FPS if key in by_name), None) or fps
    try:
        _, pictures = pick_pictures([pair for pair in arrays if pair[0].rpartition("/")[2] not in _ACTIONS], camera)
    except BadEpisodeError as error:
        yield BadPart(name, str(error))
        return
    shape = tuple(actions.shape)
    if not shape or math.prod(shape[1:]) > MOST_VALUES or len_of(pictures) > MOST_FRAMES:
        yield BadPart(
            name,
            f"it has {len_of(pictures)} pictures and actions of the shape {shape}: at most {MOST_FRAMES} pictures are "
            f"read, and {MOST_VALUES} values of an action",
        )
        return
    ends = [np.asarray(by_name[key][:]).astype(bool).ravel() for key in _ENDS if key in by_name]
    odd = next((each for each in ends if len(each) != len_of(pictures) and each[:-1].any()), None)
    if odd is not None:
        yield BadPart(
            name,
            f"its episodes end at {int(odd.sum())} of {len(odd)} steps, and it has {len_of(pictures)} pictures: write "
            "one step a picture",
        )
        return
    spans = _spans(len_of(pictures), ends)
    for number, (start, stop) in enumerate(spans):
        own = name if len(spans) == 1 else f"{name}/{number:05d}"
        yield Episode(
            own,
            stop - start,
            lambda start=start, stop=stop: pictures_of(pictures, start, stop),  # type: ignore[misc]
            lambda start=start, stop=stop: np.asarray(actions[start:stop]),  # type: ignore[misc]
            rate,
        )


def len_of(array: Pixels) -> int:
    """Return the number of pictures."""
    return int(array.shape[0])


def _spans(count: int, ends: Sequence[npt.NDArray[np.bool_]]) -> list[tuple[int, int]]:
    ends = [each for each in ends if len(each) == count]
    return split_at(np.logical_or.reduce(ends)) if ends else [(0, count)]


def _number(array: Any) -> float | None:
    value = np.asarray(array[()]).ravel()
    return float(value[0]) if value.size == 1 and value.dtype.kind in "uif" else None


def read_npz(path: Path, name: str, camera: str) -> Read:
    """Yield the episodes of one `.npz`; nothing that is pickled is loaded.

    Raises:
        UserError: it must be said which pictures are meant.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(member.file_size for member in packed.infolist())
        if size > _LARGEST:
            yield BadPart(name, f"it unpacks to {size >> 30} GB: at most {_LARGEST >> 30} GB are read; split it")
            return
        with np.load(path, allow_pickle=False) as file:
            arrays = [(key, file[key]) for key in file.files]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, MemoryError, NotImplementedError) as error:
        pickled = "pickle" in str(error).lower()
        why = "it holds pickled objects, which are not loaded: store plain arrays" if pickled else str(error)[:200]
        yield BadPart(name, f"it cannot be read: {why}")
        return
    yield from episodes_of(name, arrays, camera)
