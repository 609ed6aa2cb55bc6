"""What Label Studio exports: CSV and JSON_MIN with a column for each control, and JSON with the results in full.

It names a video by its own address of it: `/data/upload/1/1a2b3c4d-run.mp4` for an uploaded file, whose name gets a
prefix, and `/data/local-files/?d=videos/run.mp4` for one of a folder that it serves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pipeline.outside import parse_json

_OWN_COLUMNS = {"annotation_id", "lead_time"}
_VIDEO_KEYS = ("clip_id", "video", "video_url", "url", "file", "path")
_NOT_THE_RATING = {
    "annotation_id", "annotator", "created_at", "updated_at", "id", "lead_time", "agreement", "completed_by",
    "start_s", "start", "seconds", "stream", "title", "note", *_VIDEO_KEYS,
}  # fmt: skip
_USUAL_CONTROLS = ("rating", "quality", "score", "stars", "choice", "choices", "label")
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")


def is_label_studio(names: set[str]) -> bool:
    """Return whether the columns of a file are those of its export."""
    return names >= _OWN_COLUMNS


def with_our_names(names: list[str]) -> list[str]:
    """Return the columns of its CSV or JSON_MIN under our names: the control that was rated with, and the video.

    The control has whatever name its project gave it: it is the only column that is neither Label Studio's own nor a
    video, or the one with a usual name.
    """
    result = list(names)
    if "rating" not in names:
        others = [name for name in names if name and name not in _NOT_THE_RATING]
        usual = [name for name in _USUAL_CONTROLS if name in others]
        if len(others) == 1 or len(usual) == 1:
            result[names.index(usual[0] if len(usual) == 1 else others[0])] = "rating"
    if not {"clip_id", "video"} & set(names):
        video = next((key for key in _VIDEO_KEYS if key in names), None)
        if video is not None:
            result[names.index(video)] = "video"
    if "start_s" not in names and "start" in names:
        result[names.index("start")] = "start_s"
    return result


def rating_in_cell(cell: str) -> str:
    """Return the rating in a cell of its CSV or JSON_MIN: a plain value, or a control's results as JSON."""
    if not cell.lstrip().startswith(("[", "{")):
        return cell
    try:
        found = parse_json(cell)
    except ValueError:
        return cell
    for one in found if isinstance(found, list) else [found]:
        value = _rating_of(one.get("value", one)) if isinstance(one, dict) else one
        if value is not None:
            return str(value)
    return ""


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
    texts = [key for key, value in data.items() if isinstance(value, str)]
    if named is None and len(texts) == 1:
        named = texts[0]  # a task of one text shows what that names
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
        value = _rating_of(one.get("value")) if isinstance(one, dict) else None
        if value is not None:
            return value
    return None


def _rating_of(value: object) -> object:
    if not isinstance(value, dict):
        return None
    for key in ("rating", "number"):
        if value.get(key) is not None:
            return value[key]
    choices = value.get("choices")
    return choices[0] if isinstance(choices, list) and len(choices) == 1 else None


def _who(person: object) -> object:
    """Return the annotator's address or number."""
    if isinstance(person, dict):
        return person.get("email") or person.get("id")
    return person
