"""Labels in and out as files: CSV (or Parquet by its ending), refused whole when anything in it is wrong.

Two forms, one header line each:

    clip_id,rating
    folder-run-1-0123456789-000016000-1a2b3c4d,5

    video,start_s,rating
    "Level 1, part two.mp4",32,1

`video` is a file name, a URL, a native id or a video id. A file is imported once: its events are named by the
annotator, the file's content and the line, so that importing it again adds nothing.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.ids import short_hash
from pipeline.label_events import existing_clips, find_places, find_videos, load_labels
from pipeline.storage.store import Store

_KNOWN = ("clip_id", "video", "start_s", "rating")
# columns of our own export and of people's tables that an import has no use for, or takes if they are there
_EXTRA = ("annotator", "stream", "seconds", "title", "note", "labelled_at", "origin")
_FORMS = "the header must hold clip_id,rating or video,start_s,rating"


@dataclass(frozen=True)
class ImportReport:
    """What an import did."""

    rows: int
    """Ratings in the file."""
    added: int
    """Events that are new to the store (0 when the file was imported before)."""
    resolved: int
    """Rows whose clip exists."""
    unresolved: int
    """Rows kept for a clip that does not exist (yet)."""
    by_rating: Mapping[int, int]
    """Rows per rating."""
    examples: tuple[str, ...] = ()
    """The first few unresolved rows, for a person to read."""


def import_labels(store: Store, path: str | Path, annotator: str, config: Config | None = None) -> ImportReport:
    """Append the ratings of a CSV or Parquet file to the store's labels, all of them or none.

    Args:
        store: the store.
        path: the file.
        annotator: who rated; a column `annotator` wins where it is filled.
        config: resolves videos and seconds to clips of its clip_spec.

    Raises:
        UserError: naming the file, the line and the fix, where the file cannot be read, has a wrong header, a bad
            row or rating, names a video by a name that several bear, or none of its rows has a clip.
    """
    if not annotator.strip():
        raise UserError("the annotator's name is empty: say who rated, as --annotator NAME")
    file, data, rows = _read(path)
    _refuse_ambiguous(store, file, rows)
    places = find_places(store, {(row["video"], row["start_s"]) for row in rows if not row["clip_id"]}, config)
    there = existing_clips(store, {row["clip_id"] for row in rows if row["clip_id"]}, config)
    content, now = hashlib.sha256(data).hexdigest(), datetime.now(UTC)
    events: list[dict[str, Any]] = []
    for row in rows:
        clip_id = row["clip_id"] or places.get((row["video"], row["start_s"]))
        who = row["annotator"] or annotator
        # microseconds keep the order of lines: the last rating of a clip in a file is the one that holds
        events.append({
            "event_id": short_hash(f"import\n{who}\n{content}\n{row['line']}", 32), "clip_id": clip_id,
            "video": row["video"], "start_s": row["start_s"], "rating": row["rating"], "kind": "rate",
            "annotator": who, "stream": row["stream"] or "import", "seconds": row["seconds"],
            "resolved": bool(clip_id) and (clip_id in there or not row["clip_id"]), "origin": file.name,
            "labelled_at": now + timedelta(microseconds=len(events)),
        })  # fmt: skip
    lost = [row for row, event in zip(rows, events, strict=True) if not event["resolved"]]
    examples = tuple(_named(row) for row in lost[:3])
    if len(lost) == len(rows):
        raise UserError(
            f"label file {file.name!r}: none of its {len(rows)} rows names a clip of this store, so nothing was "
            f"imported (first: {'; '.join(examples)}). Check the names (`lampworks export FILE.parquet` lists the "
            "clips), the --root, and that the clips are cut"
        )
    return ImportReport(
        rows=len(rows),
        added=append_new_events(store, events),
        resolved=len(rows) - len(lost),
        unresolved=len(lost),
        by_rating=dict(sorted(Counter(row["rating"] for row in rows).items())),
        examples=examples,
    )


def check_label_file(path: str | Path) -> int:
    """Return the number of ratings in a file; UserError names the line of anything that an import would refuse.

    Whether their clips exist is not asked: the file may be checked before the first video is fetched.
    """
    return len(_read(path)[2])


def append_new_events(store: Store, events: Sequence[Mapping[str, Any]]) -> int:
    """Append those events whose id the store does not have, in one commit; return how many."""
    known = set(store.read("labels", ["event_id"])["event_id"].to_pylist())
    new = [event for event in events if event["event_id"] not in known]
    # a merge, so that two writers of the same events still leave each once
    store.merge("labels", new, on=["event_id"])
    return len(new)


def export_labels(store: Store, path: str | Path, config: Config | None = None) -> int:
    """Write one row per clip and annotator, as it stands now, as CSV or (by its ending) Parquet.

    The file can be imported again, here or into another store. Labels whose clip does not exist are not in it.

    Args:
        store: the store.
        path: the file to write.
        config: resolves videos and seconds to clips of its clip_spec.

    Returns:
        The number of rows.
    """
    columns = ["clip_id", "rating", "annotator", "video", "start_s", "stream", "seconds", "origin", "labelled_at"]
    rows = [
        {**{name: event[name] for name in columns}, "labelled_at": event["labelled_at"].isoformat()}
        for by_annotator in load_labels(store, config).events.values()
        for _, event in sorted(by_annotator.items())
    ]
    target = Path(path)
    temporary = target.with_name(f".{target.name}.part")
    kinds: dict[str, Any] = {"rating": pa.int64(), "start_s": pa.float64(), "seconds": pa.float64()}
    try:
        if target.suffix == ".parquet":
            schema = pa.schema([(name, kinds.get(name, pa.string())) for name in columns])
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)
        else:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(rows)
        temporary.replace(target)
    except OSError as exc:
        raise UserError(f"labels cannot be written to {str(path)!r}: {exc.strerror or exc}") from exc
    return len(rows)


# -- reading a file -----------------------------------------------------------------------------------------------


def _read(path: str | Path) -> tuple[Path, bytes, list[dict[str, Any]]]:
    file = Path(path)
    try:
        data = file.read_bytes()
    except OSError as exc:
        raise UserError(f"label file {str(path)!r} cannot be read: {exc.strerror or exc}") from exc
    rows = list(_rows(file, data))
    if not rows:
        raise UserError(f"label file {file.name!r} has no rows below its header: nothing to import")
    return file, data, rows


def _rows(file: Path, data: bytes) -> Iterator[dict[str, Any]]:
    records = _parquet_records(file, data) if file.suffix == ".parquet" else _csv_records(file, data)
    header: list[str] | None = None
    for line, cells in records:
        if header is None:
            header = _header(file, cells)
            continue
        if not any(cell.strip() for cell in cells):
            continue
        where = f"label file {file.name!r}, line {line}"
        if len(cells) != len(header):
            raise UserError(f"{where}: {len(cells)} cells under {len(header)} columns; quote cells that hold commas")
        yield _row(dict(zip(header, cells, strict=True)), line, where)
    if header is None:
        raise UserError(f"label file {file.name!r} is empty: {_FORMS}")


def _csv_records(file: Path, data: bytes) -> Iterator[tuple[int, list[str]]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise UserError(f"label file {file.name!r}, line {line}: not UTF-8 text; save it as CSV UTF-8") from exc
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as exc:
            raise UserError(f"label file {file.name!r}, line {line}: not CSV ({exc})") from exc
        if cells is None:
            return
        yield line, cells


def _parquet_records(file: Path, data: bytes) -> Iterator[tuple[int, list[str]]]:
    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as exc:
        raise UserError(f"label file {file.name!r} is not Parquet: {exc}") from exc
    yield 1, table.column_names
    for number, row in enumerate(table.to_pylist(), start=2):
        yield number, ["" if value is None else str(value) for value in row.values()]


def _header(file: Path, cells: list[str]) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    where = f"label file {file.name!r}, line 1"
    unknown = [name for name in names if name not in {*_KNOWN, *_EXTRA}]
    if unknown:
        shown = ", ".join(repr(name[:60]) for name in unknown)
        raise UserError(f"{where}: unknown column {shown}; {_FORMS}, separated by commas")
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise UserError(f"{where}: column {', '.join(twice)} is there twice")
    if "rating" not in names or not ("clip_id" in names or {"video", "start_s"} <= set(names)):
        raise UserError(f"{where}: found {', '.join(names)}; {_FORMS}")
    return names


def _row(cells: Mapping[str, str], line: int, where: str) -> dict[str, Any]:
    values = {name: cells.get(name, "").strip() for name in (*_KNOWN, *_EXTRA)}
    rating = _number(values["rating"])
    if rating is None or rating not in (1, 2, 3, 4, 5):
        raise UserError(f"{where}: rating {values['rating']!r} is not 1, 2, 3, 4 or 5; nothing was imported")
    start_s = _number(values["start_s"])
    if values["start_s"] and (start_s is None or start_s < 0):
        raise UserError(f"{where}: start_s {values['start_s']!r} is not a time in seconds; nothing was imported")
    if not values["clip_id"] and (not values["video"] or start_s is None):
        raise UserError(f"{where}: the row names no clip (clip_id, or video and start_s); nothing was imported")
    seconds = _number(values["seconds"])
    return {
        "line": line, "clip_id": values["clip_id"] or None, "video": values["video"] or None, "start_s": start_s,
        "rating": int(rating), "annotator": values["annotator"], "stream": values["stream"], "seconds": seconds,
    }  # fmt: skip


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _refuse_ambiguous(store: Store, file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    names = {row["video"]: row["line"] for row in reversed(rows) if not row["clip_id"]}
    for name, ids in sorted(find_videos(store, names).items()):
        if len(ids) > 1:
            raise UserError(
                f"label file {file.name!r}, line {names[name]}: {name!r} is the name of {len(ids)} videos "
                f"({', '.join(sorted(ids)[:3])}); write the video's id or its path in the folder instead"
            )


def _named(row: Mapping[str, Any]) -> str:
    return f"line {row['line']}: {row['clip_id'] or '{} at {} s'.format(row['video'], row['start_s'])}"
