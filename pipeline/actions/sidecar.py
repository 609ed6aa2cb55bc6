"""Read a sidecar of true actions: JSONL or Parquet, one row a frame of the source video.

    rows = read_sidecar("demo/ep1.actions.jsonl", data)     # PermanentError says what is wrong with which row
    len(rows), rows.labels or rows.values, rows.times_s

A row has `action`, or where no row has one, `keys`. A discrete one is a whole number, a name, true or false, or a
list of names (keys that are held); a continuous one is a number with a fraction, or a list of numbers. A row may have
`frame` (from 0), or `t` in seconds, from which on it is in force. `frame_index` and `timestamp`, as LeRobot names
them, are read likewise; other fields are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from pipeline.actions.columns import BadSidecarError, Columns, read_jsonl, read_parquet

MOST_VALUES = 256
"""Values of a continuous action, and names of a list."""
_MOST_CHARACTERS = 100
_LARGEST_NUMBER = 2**31


@dataclass(frozen=True, eq=False)
class ActionRows:
    """The rows of a sidecar, in the order of the recording: N of them."""

    labels: tuple[str, ...] | None
    """Names of discrete actions (N,); None for continuous ones."""
    values: npt.NDArray[np.float32] | None
    """Continuous actions (N, D); None for discrete ones."""
    times_s: npt.NDArray[np.float64] | None
    """When each row begins to be in force, rising; None where row k belongs to frame k of the video."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels if self.labels is not None else self.values if self.values is not None else ())


def read_sidecar(name: str, data: bytes) -> ActionRows:
    """Return the rows of a sidecar.

    Args:
        name: of the file; its ending says whether it is Parquet.
        data: its bytes.

    Raises:
        BadSidecarError: it cannot be read as actions; the message names the row, and what would be right.
    """
    columns = read_parquet(data) if name.endswith(".parquet") else read_jsonl(data)
    if not columns.actions:
        raise BadSidecarError("it has no row: write one row a frame of the video, or remove the file")
    columns = _in_order(columns)
    # an environment gives T actions for T + 1 pictures: the last row may say that there is none
    if columns.actions[-1] is None and len(columns.actions) > 1:
        times = None if columns.times is None else columns.times[:-1]
        columns = replace(columns, actions=columns.actions[:-1], times=times)
    labels, values = _read_actions(columns)
    return ActionRows(labels, values, None if columns.times is None else _times(columns))


def _in_order(columns: Columns) -> Columns:
    """Return the rows in the order of their frames; each frame from 0 on must have one."""
    if columns.times is not None or columns.frames is None:
        return columns
    by_frame: dict[int, int] = {}
    for place, frame in enumerate(columns.frames):
        if not isinstance(frame, int) or isinstance(frame, bool) or frame < 0:
            raise columns.wrong(place, f"`frame` is {_shown(frame)}: it must be the number of a frame, from 0 on")
        if frame in by_frame:
            raise columns.wrong(place, f"frame {frame} has another row already: leave one of the two")
        by_frame[frame] = place
    missing = next((frame for frame in range(len(by_frame)) if frame not in by_frame), None)
    if missing is not None:
        raise BadSidecarError(f"frame {missing} has no row: write one row a frame, from 0 on without a gap")
    order = [by_frame[frame] for frame in range(len(by_frame))]
    return replace(
        columns,
        actions=[columns.actions[place] for place in order],
        numbers=[columns.numbers[place] for place in order],
    )


def _times(columns: Columns) -> npt.NDArray[np.float64]:
    assert columns.times is not None
    times = np.empty(len(columns.times))
    for place, time in enumerate(columns.times):
        if not _is_number(time) or not math.isfinite(float(time)) or not 0 <= float(time) < 1e9:
            raise columns.wrong(place, f"`t` is {_shown(time)}: it must be seconds from the start of the video")
        times[place] = float(time)
        if place and times[place] <= times[place - 1]:
            same = "the same as" if times[place] == times[place - 1] else "before"
            raise columns.wrong(place, f"t = {times[place]:g} s is {same} that of the row before: sort the rows by `t`")
    return times


def _read_actions(columns: Columns) -> tuple[tuple[str, ...] | None, npt.NDArray[np.float32] | None]:
    """Return the labels or the values of all rows, which must be of one kind."""
    actions = columns.actions
    kinds = [_kind(columns, place) for place in range(len(actions))]
    kind = _common_kind(columns, kinds)
    if kind in ("list of numbers", "number"):
        lists = [action if isinstance(action, Sequence) else [action] for action in actions]
        return None, _values(columns, lists)
    return tuple(_label(columns, place) for place in range(len(actions))), None


def _kind(columns: Columns, place: int) -> str:
    action = columns.actions[place]
    if action is None:
        raise columns.wrong(place, "it has no action, or NaN: give every row but the last a number, a name or a list")
    if isinstance(action, bool):
        return "true or false"
    if isinstance(action, str):
        return "name"
    if isinstance(action, int):
        return "whole number"
    if isinstance(action, float):
        return "number"
    if isinstance(action, list):
        if not action:
            return "empty list"
        if all(isinstance(part, str) for part in action):
            return "list of names"
        if all(part is None or isinstance(part, bool | int | float) for part in action):
            return "list of numbers"
    raise columns.wrong(
        place, f"its action is {_shown(action)}: write a number, a name, or a list of numbers or of names"
    )


def _common_kind(columns: Columns, kinds: Sequence[str]) -> str:
    """Return the kind of all rows; JSON writers drop a fraction of 0, and no key is held in an empty list."""
    found = set(kinds)
    for mixed, whole in (({"whole number", "number"}, "number"), ({"empty list", "list of names"}, "list of names")):
        if found <= mixed:
            return kinds[0] if len(found) == 1 else whole
    if len(found) > 1:
        place = next(place for place, kind in enumerate(kinds) if kind != kinds[0])
        raise columns.wrong(
            place, f"its action is a {kinds[place]}, that of the first row a {kinds[0]}: write all rows alike"
        )
    return kinds[0]


def _values(columns: Columns, lists: Sequence[Sequence[object]]) -> npt.NDArray[np.float32]:
    size = len(lists[0])
    if size > MOST_VALUES:
        raise columns.wrong(0, f"its action has {size} values: at most {MOST_VALUES} are read")
    values = np.empty((len(lists), size), np.float32)
    for place, parts in enumerate(lists):
        if len(parts) != size:
            raise columns.wrong(
                place, f"its action has {len(parts)} values, that of the first row {size}: write all rows alike"
            )
        for index, part in enumerate(parts):
            if not _is_number(part) or not abs(float(part)) <= float(np.finfo(np.float32).max):
                raise columns.wrong(
                    place, "its action has a value that is no finite number (NaN or infinity): write a number, or "
                    "leave the recording out"
                )  # fmt: skip
            values[place, index] = float(part)
    return values


def _label(columns: Columns, place: int) -> str:
    action = columns.actions[place]
    if isinstance(action, bool):
        return "true" if action else "false"
    if isinstance(action, int):
        if abs(action) >= _LARGEST_NUMBER:
            raise columns.wrong(place, f"its action is {_shown(action)}: a whole number must have at most 32 bits")
        return str(action)
    names = sorted(set(action)) if isinstance(action, list) else [action]
    label = "+".join(map(str, names)) if names else "none"
    if not label or len(label) > _MOST_CHARACTERS or not label.isprintable():
        raise columns.wrong(
            place, f"its action {_shown(action)} is no name: use 1 to {_MOST_CHARACTERS} printable characters"
        )
    return label


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, bool | int | float)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
