"""Episodes of a LeRobot data set of version 2: Parquet with the actions, MP4 with the pictures, one each an episode.

meta/info.json      data/chunk-000/episode_000000.parquet
videos/chunk-000/observation.images.top/episode_000000.mp4
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.episodes.episode import BadPart, Episode, Read
from pipeline.errors import UserError
from pipeline.outside import clean_count, clean_number, clean_text, parse_json
from pipeline.regular_file import read_regular

INFO = "meta/info.json"
_LARGEST, _MOST_EPISODES = 64 << 20, 1_000_000
_DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def read_lerobot(folder: Path, camera: str) -> Read:
    """Yield the episodes of a data set.

    Raises:
        UserError: its version is another, its description cannot be read, or it must be said which camera is meant.
    """
    info = _json(folder / INFO)
    version = str(info.get("codebase_version", ""))
    if not version.startswith("v2"):
        raise UserError(
            f"{folder}: version {clean_text(version, 20) or 'none'} of LeRobot is not read; convert it to v2.1 with "
            "LeRobot's own tools, which have one file an episode"
        )
    features = info.get("features")
    videos = [key for key, about in (features.items() if isinstance(features, dict) else ()) if _is_video(about)]
    key = _camera(folder, videos, camera)
    fps = clean_number(info.get("fps"), 1000) or None
    count, chunk = clean_count(info.get("total_episodes"), _MOST_EPISODES), clean_count(info.get("chunks_size")) or 1000
    if count is None:
        raise UserError(f"{folder}/{INFO}: `total_episodes` is no number of at most {_MOST_EPISODES}")
    tasks = _tasks(folder)
    for index in range(count):
        names = {"episode_chunk": index // chunk, "episode_index": index, "video_key": key}
        data = _place(folder, info.get("data_path"), _DATA, names)
        video = _place(folder, info.get("video_path"), _VIDEO, names)
        name = f"episode_{index:06d}"
        missing = next((each for each in (data, video) if not each.is_file()), None)
        if missing is not None:
            yield BadPart(name, f"{missing.relative_to(folder)} is not there: copy it, or leave the episode out")
            continue
        try:
            rows = pq.ParquetFile(data).metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            yield BadPart(name, f"its Parquet cannot be read: {str(error).splitlines()[0][:200]}")
            continue
        yield Episode(name, rows, None, data.read_bytes, fps, video, tasks.get(index, ""))


def _place(folder: Path, template: object, default: str, names: Mapping[str, Any]) -> Path:
    """Return the path that a template of the data set names; it must lie in its folder."""
    text = template if isinstance(template, str) else default
    try:
        fields = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
        # a field may hold an expression, as `x.__class__`
        relative = text.format(**names) if fields <= names.keys() else None
    except (ValueError, KeyError, IndexError):
        relative = None
    if relative is None or relative.startswith("/") or ".." in Path(relative).parts:
        raise UserError(f"{folder}/{INFO}: {text[:100]!r} is no path within the data set")
    return folder / relative


def _is_video(about: object) -> bool:
    return isinstance(about, dict) and about.get("dtype") == "video"


def _camera(folder: Path, videos: list[str], camera: str) -> str:
    found = [key for key in videos if key == camera] or [key for key in videos if camera in key]
    if len(found) == 1:
        return found[0]
    if not videos:
        raise UserError(f"{folder}: no feature of {INFO} is a video: convert its images to videos with LeRobot's tools")
    raise UserError(f"{folder}: it has the cameras {', '.join(videos[:8])}: name one of them with --camera")


def _tasks(folder: Path) -> dict[int, str]:
    """Return what each episode's task is called, where the data set says so."""
    try:
        lines = read_regular(folder / "meta" / "episodes.jsonl", _LARGEST).decode("utf-8", "replace").split("\n")
    except OSError:
        return {}
    tasks: dict[int, str] = {}
    for line in lines:
        try:
            row = parse_json(line) if line.strip() else None
        except ValueError:
            continue
        if isinstance(row, dict) and (index := clean_count(row.get("episode_index"))) is not None:
            named = row.get("tasks")
            tasks[index] = clean_text("; ".join(map(str, named)) if isinstance(named, list) else "", 1000)
    return tasks


def _json(path: Path) -> dict[str, Any]:
    try:
        found = parse_json(read_regular(path, _LARGEST))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is JSON, but no object")
    return found
