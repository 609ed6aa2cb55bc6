"""Read a file of labels, CSV or Parquet by its ending; any error in it refuses the whole file and names the line.

Two forms, one header line each:

    clip_id,rating
    folder-run-1-0123456789-000016000-1a2b3c4d,5

    video,start_s,rating
    "Level 1, part two.mp4",32,1

`video` is a file name, a URL, a native id or a video id.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UserError
from pipeline.outside import clean_number, clean_seconds, clean_text
from pipeline.regular_file import read_regular

_KNOWN = ("clip_id", "video", "start_s", "rating")
# columns of our own export and of people's tables: `annotator`, `stream` and `seconds` are imported, the others ignored
_EXTRA = ("annotator", "stream", "seconds", "title", "note", "labelled_at", "origin")
_LARGEST, _MOST_ROWS = 256 << 20, 2_000_000
_LONGEST = 10_000
_FORMS = "the header must hold clip_id,rating or video,start_s,rating"


@dataclass(frozen=True)
class LabelRow:
    """One rating in a file."""

    line: int
    clip_id: str | None
    """None where the clip is named by video and second."""
    video: str | None
    start_s: float | None
    rating: int
    annotator: str
    """Empty where the file does not say."""
    stream: str
    seconds: float | None
    """Time that the annotator took."""

    def __str__(self) -> str:
        """Return the line and the clip, for a person."""
        return f"line {self.line}: {self.clip_id or f'{self.video} at {self.start_s} s'}"


@dataclass(frozen=True)
class LabelFile:
    """A file of labels that was read and checked."""

    name: str
    sha256: str
    rows: tuple[LabelRow, ...]


def read_label_file(path: str | Path) -> LabelFile:
    """Return the ratings of a file.

    Raises:
        UserError: naming the file, the line and the fix, where it cannot be read or anything in it is wrong.
    """
    file = Path(path)
    try:
        data = read_regular(file, _LARGEST)
    except OSError as exc:
        raise UserError(f"label file {str(path)!r} cannot be read: {exc.strerror or exc}") from exc
    rows = tuple(_rows(file, data))
    if not rows:
        raise UserError(f"label file {file.name!r} has no rows below its header: nothing to import")
    return LabelFile(file.name, hashlib.sha256(data).hexdigest(), rows)


def check_label_file(path: str | Path) -> int:
    """Return the number of ratings in a file; UserError names the line of anything that an import would refuse.

    It does not check whether the clips exist: a file may be checked before the first video is downloaded.
    """
    return len(read_label_file(path).rows)


def _rows(file: Path, data: bytes) -> Iterator[LabelRow]:
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
        found = pq.ParquetFile(io.BytesIO(data))
        # a file of a few kilobytes may hold a thousand million equal rows
        if found.metadata.num_rows > _MOST_ROWS:
            raise UserError(
                f"label file {file.name!r} has {found.metadata.num_rows:,} rows; at most {_MOST_ROWS:,} are read"
            )
        table = found.read()
    except (pa.ArrowException, OSError) as exc:
        raise UserError(f"label file {file.name!r} is not Parquet: {exc}") from exc
    yield 1, table.column_names
    for number, row in enumerate(table.to_pylist(), start=2):
        yield number, ["" if value is None else _cell(value) for value in row.values()]


def _cell(value: object) -> str:
    """Return a cell of Parquet as the CSV would hold it; times and decimals too."""
    return clean_text(value if isinstance(value, str | int | float) else str(value), _LONGEST)


def _header(file: Path, cells: list[str]) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    where = f"label file {file.name!r}, line 1"
    unknown = [name for name in names if name not in {*_KNOWN, *_EXTRA}]
    if unknown:
        shown = ", ".join(repr(name[:60]) for name in unknown)
        raise UserError(f"{where}: unknown column {shown}; {_FORMS}, separated by commas")
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise UserError(f"{where}: column {', '.join(repeated)} is there twice")
    if "rating" not in names or not ("clip_id" in names or {"video", "start_s"} <= set(names)):
        raise UserError(f"{where}: found {', '.join(names)}; {_FORMS}")
    return names


def _row(cells: Mapping[str, str], line: int, where: str) -> LabelRow:
    values = {name: clean_text(cells.get(name, "").strip(), _LONGEST) for name in (*_KNOWN, *_EXTRA)}
    rating = clean_number(values["rating"], 5, least=1)
    if rating is None or not rating.is_integer():
        raise UserError(f"{where}: rating {values['rating']!r} is not 1, 2, 3, 4 or 5; nothing was imported")
    start_s = clean_seconds(values["start_s"])
    if values["start_s"] and start_s is None:
        raise UserError(f"{where}: start_s {values['start_s']!r} is not a time in seconds; nothing was imported")
    if not values["clip_id"] and (not values["video"] or start_s is None):
        raise UserError(f"{where}: the row names no clip (clip_id, or video and start_s); nothing was imported")
    return LabelRow(
        line=line,
        clip_id=values["clip_id"] or None,
        video=values["video"] or None,
        start_s=start_s,
        rating=int(rating),
        annotator=values["annotator"],
        stream=values["stream"],
        seconds=clean_seconds(values["seconds"]),
    )
