"""Read which videos belong together from a file: folds are then divided by a field of it, such as the game.

    {"file": "videos/v001.mp4", "source_game": "supertux", ...}      one JSON object a line, or CSV, or Parquet

    read_groups(store, "metadata.jsonl:source_game").groups  ->  {video_id: "supertux"}

A row names its video by `video`, `file`, `id` or another of `NAMES`, as a file of labels does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from classifier.labels.label_table import read_table
from pipeline.errors import UserError
from pipeline.outside import shown_text
from pipeline.regular_file import read_regular
from pipeline.storage.store import Store
from pipeline.video_names import find_videos

NAMES = ("video_id", "video", "file", "filename", "path", "url", "native_id", "id", "name")
"""Columns that may name a video, in the order in which they are tried."""
_LARGEST = 256 << 20
_SHOWN = 20


@dataclass(frozen=True)
class GroupFile:
    """The groups that a file gives to the videos of a store."""

    groups: Mapping[str, str]
    """video_id -> group."""
    unknown: int
    """Rows whose video is not in the store."""
    without_group: int
    """Videos of the store whose field is empty: each is a group of its own."""

    def note(self) -> str:
        """Return in one line what the file gave."""
        counts = {
            "groups": len(set(self.groups.values())),
            "videos with a group": len(self.groups),
            "videos without one": self.without_group,
            "rows that name no video of this root": self.unknown,
        }
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def read_groups(store: Store, spec: str) -> GroupFile:
    """Return the group of each video that a file names.

    Args:
        store: the videos.
        spec: `FILE:FIELD`.

    Raises:
        UserError: the file cannot be read, has no such field, names no video of the store, or gives a video two groups.
    """
    path, colon, field = spec.rpartition(":")
    if not colon or not path or not field.strip():
        raise UserError(f"--groups {spec!r}: write FILE:FIELD, such as metadata.jsonl:source_game")
    file = Path(path)
    try:
        data = read_regular(file, _LARGEST)
    except OSError as exc:
        raise UserError(f"group file {path!r} cannot be read: {exc.strerror or exc}") from exc
    rows = list(_rows(file, data, field.strip()))
    ids = find_videos(store, {name for _, names, _ in rows for name in names})
    groups: dict[str, str] = {}
    named, unknown = set[str](), 0
    for line, names, group in rows:
        found = next((ids[name] for name in names if name in ids), set())
        if len(found) > 1:
            raise UserError(
                f"group file {file.name!r}, line {line}: {names[0]!r} is the name of {len(found)} videos "
                f"({', '.join(sorted(found)[:3])}); write the video's id or its path in the folder instead"
            )
        unknown += not found
        named |= found
        for video_id in found if group else ():
            if groups.setdefault(video_id, group) != group:
                raise UserError(
                    f"group file {file.name!r}, line {line}: video {video_id} is in two groups, {groups[video_id]!r} "
                    f"and {group!r}: leave one of the rows"
                )
    if not groups:
        raise UserError(
            f"group file {file.name!r}: none of its {len(rows)} rows gives a video of this root a group; check the "
            "names of the videos and --root"
        )
    return GroupFile(groups, unknown, len(named - groups.keys()))


def _rows(file: Path, data: bytes, field: str) -> Iterator[tuple[int, list[str], str]]:
    """Yield the line, the names of the video and the group of each row."""
    table = read_table(file, data, "group file")
    columns = [] if table.header is None else [cell.strip() for cell in table.header.cells]
    lower = [column.lower() for column in columns]
    shown = shown_text(", ".join(repr(column[:60]) for column in columns[:_SHOWN]))
    named = [lower.index(name) for name in NAMES if name in lower]
    # a field as it is written comes before one in other letters
    place = columns.index(field) if field in columns else lower.index(field.lower()) if field.lower() in lower else None
    if place is None:
        raise UserError(f"group file {file.name!r} has no field {field!r}; it has {shown or 'no fields'}")
    if not named:
        raise UserError(
            f"group file {file.name!r} names no videos: it has {shown}; one of {', '.join(NAMES)} is needed"
        )
    for record in table.records:
        cells = [cell.strip() for cell in record.cells] + [""] * (len(columns) - len(record.cells))
        yield record.line, [cells[column] for column in named if cells[column]], cells[place]
