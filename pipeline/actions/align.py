"""Say which rows of a sidecar lead from each frame of a clip to the next one.

The rows of a transition are those in force between its two frames. Where rows are one a frame of the source, they are
the rows of the source frames from the one that the first shows up to the one before what the second shows (the action
at a frame leads to the next frame); each weighs 1. Where rows have times, each weighs the seconds for which it is in
force meanwhile. A transition between two showings of one source frame has that frame's row, of weight 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.actions.columns import BadSidecarError
from pipeline.actions.sidecar import ActionRows
from pipeline.actions.table import TABLE

# timestamps are rounded to milliseconds (Matroska) or 32-bit floats
_ROUNDING_S = 0.002
# rows of this many seconds apart count as evenly sampled, so that a hole among them is a missing row
_EVEN_SHARE, _LEAST_EVEN = 0.9, 10


@dataclass(frozen=True)
class Timeline:
    """A source video: what its rows are compared with."""

    num_frames: int
    """Frames that were decoded."""
    end_s: float
    """Length of the picture."""
    lost_ms: int
    """Milliseconds of it that could not be decoded."""


@dataclass(frozen=True, eq=False)
class ClipFrames:
    """Where the T frames of a clip come from."""

    clip_id: str
    sources: npt.NDArray[np.int64]
    """(T,): the number of the source frame that each shows."""
    times_s: npt.NDArray[np.float64]
    """(T,): when each is shown, on the time line of the source."""


def align(rows: ActionRows, timeline: Timeline, clips: Sequence[ClipFrames]) -> pa.Table:
    """Return rows of `TABLE`: those of each transition of the clips.

    Raises:
        BadSidecarError: the rows do not fit the video; the message says how many there are, and how many must be.
    """
    if rows.times_s is None:
        _check_count(len(rows), timeline)
    else:
        _check_times(rows.times_s, timeline)
    parts = [_of_clip(rows, clip) for clip in clips if len(clip.sources) > 1]
    return pa.concat_tables([TABLE.empty_table(), *parts])


def _check_count(count: int, timeline: Timeline) -> None:
    frames = timeline.num_frames
    if timeline.lost_ms:
        raise BadSidecarError(
            f"{timeline.lost_ms} ms of the video cannot be decoded, so its frames cannot be counted: give each row "
            "`t`, the seconds from the start of the video"
        )
    # an environment gives T actions for T + 1 pictures
    if count not in (frames, frames - 1):
        raise BadSidecarError(
            f"it has {count} rows, and the video {frames} frames: write one row a frame ({frames}, or {frames - 1} "
            "where no action follows the last frame), or give each row `t` in seconds"
        )


def _check_times(times_s: npt.NDArray[np.float64], timeline: Timeline) -> None:
    """Raise where rows that are evenly sampled do not cover the video: rows of single events may lie anywhere."""
    steps = np.diff(times_s)
    usual = float(np.median(steps)) if len(steps) else 0.0
    even = len(steps) >= _LEAST_EVEN and np.mean(np.abs(steps - usual) <= 0.1 * usual + _ROUNDING_S) >= _EVEN_SHARE
    if not even:
        if times_s[0] > _ROUNDING_S:
            raise BadSidecarError(
                f"its first row is at t = {times_s[0]:g} s: write a row at t = 0 with the action at the first frame"
            )
        return
    holes = np.flatnonzero(steps > 1.5 * usual + _ROUNDING_S)
    if len(holes):
        before, after = times_s[holes[0]], times_s[holes[0] + 1]
        raise BadSidecarError(
            f"rows are missing between t = {before:g} s and t = {after:g} s: write one every {usual:g} s"
        )
    if times_s[0] > 1.5 * usual + _ROUNDING_S or times_s[-1] < timeline.end_s - 2.5 * usual - _ROUNDING_S:
        raise BadSidecarError(
            f"its rows go from t = {times_s[0]:g} s to t = {times_s[-1]:g} s, and the video lasts {timeline.end_s:g} "
            "s: write rows for all of it"
        )


def _of_clip(rows: ActionRows, clip: ClipFrames) -> pa.Table:
    first, stop = _rows_of(rows, clip)
    counts = stop - first
    transition = np.repeat(np.arange(len(first)), counts)
    begins = np.cumsum(counts) - counts
    row = np.arange(int(counts.sum())) - np.repeat(begins - first, counts)
    if rows.times_s is None:
        weight = np.repeat((clip.sources[1:] > clip.sources[:-1]).astype(np.float32), counts)
    else:
        until = np.append(rows.times_s[1:], np.inf)
        start_s, end_s = clip.times_s[:-1][transition], clip.times_s[1:][transition]
        weight = np.clip(np.minimum(until[row], end_s) - np.maximum(rows.times_s[row], start_s), 0, None)
    labels = pa.nulls(len(row), pa.string()) if rows.labels is None else pa.array(rows.labels).take(pa.array(row))
    values = pa.nulls(len(row), pa.list_(pa.float32()))
    if rows.values is not None:
        size = rows.values.shape[1]
        offsets = pa.array(np.arange(len(row) + 1, dtype=np.int32) * size)
        values = pa.ListArray.from_arrays(offsets, pa.array(rows.values[row].ravel()))
    columns = {
        "clip_id": pa.array([clip.clip_id] * len(row), pa.string()),
        "transition": pa.array(transition.astype(np.int32)),
        "row": pa.array(row.astype(np.int64)),
        "weight": pa.array(weight.astype(np.float32)),
        "label": labels,
        "values": values,
    }
    return pa.table(columns, schema=TABLE)


def _rows_of(rows: ActionRows, clip: ClipFrames) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first row of each transition, and the row after its last one; each has at least one row."""
    if rows.times_s is None:
        first = np.minimum(clip.sources[:-1], len(rows) - 1)
        return first, np.maximum(np.minimum(clip.sources[1:], len(rows)), first + 1)
    first = np.searchsorted(rows.times_s, clip.times_s[:-1] + _ROUNDING_S, side="right") - 1
    first = np.maximum(first, 0)
    stop = np.searchsorted(rows.times_s, clip.times_s[1:] - _ROUNDING_S, side="left")
    return first, np.maximum(stop, first + 1)
