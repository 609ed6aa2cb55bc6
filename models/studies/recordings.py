"""Read a folder of recordings (`videos/`, and `actions/` with true actions): frames, and clips with their actions.

Nothing is stored: recordings are cut in memory as `lampworks run` would cut them. A file that cannot be read is left
out with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.actions.align import ClipFrames, Timeline, align
from pipeline.actions.columns import BadSidecarError
from pipeline.actions.join import ClipActions, join_actions
from pipeline.actions.sidecar import ActionRows, read_sidecar
from pipeline.clips.decode import open_video
from pipeline.config.clips import ClipConfig
from pipeline.errors import PermanentError, UserError

_ACTIONS = (".jsonl", ".parquet")


class Part(NamedTuple):
    """A clip of a recording."""

    start_ms: int
    frames_THWC: np.ndarray
    actions: ClipActions
    """Of its T - 1 transitions."""


class Recording(NamedTuple):
    """A recording with true actions."""

    name: str
    parts: list[Part]


def videos_in(folder: Path) -> list[Path]:
    """Return the files of `videos/`, by name.

    Raises:
        UserError: there is no such folder.
    """
    videos = folder / "videos"
    if not videos.is_dir():
        raise UserError(f"{str(videos)!r} is no folder: name one with `videos/` (and `actions/` beside it)")
    return sorted(path for path in videos.iterdir() if path.is_file())


def first_frames(folder: Path, config: ClipConfig, count: int) -> tuple[list[np.ndarray], dict[str, str]]:
    """Return the middle frame (H, W, C) of the first clip of the first `count` recordings, and why others have none."""
    found: list[np.ndarray] = []
    left_out: dict[str, str] = {}
    for path in videos_in(folder):
        if len(found) == count:
            break
        try:
            frames = next((frames for _, frames in open_video(path, config).clips()), None)
        except PermanentError as exc:
            left_out[path.name] = str(exc)
            continue
        if frames is None:
            left_out[path.name] = "it holds no clip"
        else:
            found.append(frames[len(frames) // 2])
    return found, left_out


def with_actions(folder: Path, config: ClipConfig) -> tuple[list[Recording], dict[str, str]]:
    """Return the recordings that have true actions, and why others with a sidecar have none.

    Args:
        folder: holds `videos/` and `actions/` with files of the same names.
        config: what a clip is.

    Raises:
        UserError: two files would share a name, and with it actions and results.
    """
    found, problems = [], {}
    videos = videos_in(folder)
    _check_names(videos)
    for path in videos:
        sidecar = next((file for end in _ACTIONS if (file := folder / "actions" / (path.stem + end)).is_file()), None)
        if sidecar is None:
            continue
        try:
            found.append(Recording(path.stem, _parts(path, sidecar, config)))
        except PermanentError as exc:
            problems[path.stem] = str(exc)
    return found, problems


def _check_names(videos: Sequence[Path]) -> None:
    first: dict[str, Path] = {}
    for path in videos:
        if (other := first.setdefault(path.stem, path)) is not path:
            raise UserError(
                f"{str(other)!r} and {str(path)!r} have one name, so actions beside them could be of either: rename one"
            )


def _parts(path: Path, sidecar: Path, config: ClipConfig) -> list[Part]:
    # before the video is decoded, which takes far longer
    rows = _rows(sidecar)
    video = open_video(path, config)
    windows = {f"{number}": window for number, window in enumerate(video.windows())}
    clips = [
        ClipFrames(
            name,
            np.array(window.sources, np.int64),
            window.start_ms / 1000 + np.arange(len(window.sources)) / config.fps,
        )
        for name, window in windows.items()
    ]
    timeline = Timeline(video.num_pictures, video.source_ms / 1000, sum(loss.ms for loss in video.lost))
    try:
        table = align(rows, timeline, clips)
    except BadSidecarError as exc:
        raise BadSidecarError(f"{sidecar.parent.name}/{sidecar.name}: {exc}") from exc
    return [
        Part(windows[each.clip_id].start_ms, windows[each.clip_id].frames, each) for each in join_actions(table, "auto")
    ]


def _rows(sidecar: Path) -> ActionRows:
    try:
        return read_sidecar(sidecar.name, sidecar.read_bytes())
    except BadSidecarError as exc:
        raise BadSidecarError(f"{sidecar.parent.name}/{sidecar.name}: {exc}") from exc
