"""What Label Studio exports: CSV and JSON_MIN with a column for each control, and JSON with the results in full.

It names a video by its own address of it: `/data/upload/1/1a2b3c4d-run.mp4` for an uploaded file, whose name gets a
prefix, and `/data/local-files/?d=videos/run.mp4` for one of a folder that it serves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_OWN_COLUMNS = {"annotation_id", "lead_time"}
_VIDEO_KEYS = ("clip_id", "video", "video_url", "url", "file", "path")
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")


def is_label_studio(names: set[str]) -> bool:
    """Return whether the columns of a file are those of its export."""
    return names >= _OWN_COLUMNS


def own_path(name: str) -> str:
    """Return the path that an address of Label Studio stands for; any other name as it is."""
    try:
        parts = urlsplit(name)
    except ValueError:
        return name
    if parts.path.rstrip("/").endswith("/data/local-files"):
        return next(iter(parse_qs(parts.query).get("d", [])), name)
    return unquote(parts.path) if "/data/upload/" in parts.path else name


def without_upload_prefix(file_name: str) -> str:
    """Return the name of a file before it was uploaded."""
    return _UPLOAD_PREFIX.sub("", file_name, count=1)


def label_studio_rows(rows: list[tuple[int, dict[str, Any]]]) -> tuple[list[tuple[int, dict[str, Any]]], bool]:
    """Return the rows of a JSON file with one value a column, and whether Label Studio wrote it.

    Args:
        rows: its objects, each with its place. Those of a full export hold a list of annotations.
    """
    full = [row for _, row in rows if isinstance(row.get("annotations"), list) and isinstance(row.get("data"), dict)]
    if not full:
        names = {name for _, row in rows for name in row}
        return rows, is_label_studio(names)
    found = []
    for place, task in rows:
        data = task.get("data") if isinstance(task.get("data"), dict) else {}
        annotations = task.get("annotations") if isinstance(task.get("annotations"), list) else []
        for annotation in annotations or []:
            if isinstance(annotation, dict):
                found.append((place, _row(task, data or {}, annotation)))
    return found, True


def _row(task: Mapping[str, Any], data: Mapping[str, Any], annotation: Mapping[str, Any]) -> dict[str, Any]:
    named = next((key for key in _VIDEO_KEYS if isinstance(data.get(key), str)), None)
    video = data[named] if named else task.get("file_upload")
    row = {
        "video": None if named == "clip_id" else video,
        "clip_id": video if named == "clip_id" else None,
        "start_s": data.get("start_s", data.get("start")),
        "rating": None if annotation.get("was_cancelled") else _rating(annotation.get("result")),
        "annotator": _who(annotation.get("completed_by")),
        "lead_time": annotation.get("lead_time"),
        "annotation_id": annotation.get("id"),
    }
    return {name: value for name, value in row.items() if value is not None}


def _rating(result: object) -> object:
    """Return the rating of an annotation: of a control for stars, a number, or a choice named 1 to 5."""
    for one in result if isinstance(result, list) else ():
        value = one.get("value") if isinstance(one, dict) else None
        if not isinstance(value, dict):
            continue
        for key in ("rating", "number"):
            if value.get(key) is not None:
                return value[key]
        choices = value.get("choices")
        if isinstance(choices, list) and len(choices) == 1:
            return choices[0]
    return None


def _who(person: object) -> object:
    """Return the annotator's address or number."""
    if isinstance(person, dict):
        return person.get("email") or person.get("id")
    return person
