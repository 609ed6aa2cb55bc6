"""Read a file of labels as a table of texts: CSV as programs and people save it, Parquet, or JSON.

CSV is separated by commas, semicolons or tabs, has a line `sep=;` or none, and is UTF-8 or UTF-16. JSON is a list of
objects with one value a column, a table as pandas writes it, or what Label Studio exports
(`classifier.labels.label_studio`).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from classifier.labels.label_studio import is_label_studio, label_studio_rows
from pipeline.errors import UserError
from pipeline.outside import clean_text, parse_json

MOST_ROWS = 2_000_000
_LONGEST = 10_000
_DELIMITERS = (",", ";", "\t", "|")
_ENDINGS = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_PARQUET = b"PAR1"
_NOT_TEXT = {
    b"PK\x03\x04": "an Excel workbook or another zip file: save the sheet as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save the sheet as CSV UTF-8",
    b"\x1f\x8b": "compressed with gzip: unpack it",
}
"""What files are that people take for CSV, by their first bytes."""


@dataclass(frozen=True)
class Record:
    """One line of a file."""

    line: int
    """Where it is, counted from 1; a row of Parquet or JSON counts as a line below a header."""
    cells: list[str]


@dataclass(frozen=True)
class LabelTable:
    """A file of labels as texts."""

    header: Record | None
    """None where the file is empty."""
    records: Iterator[Record]
    delimiter: str = ","
    """What separates the cells of a CSV."""
    is_label_studio: bool = False


def read_table(file: Path, data: bytes, what: str = "label file") -> LabelTable:
    """Return a file's header and lines.

    Args:
        file: its name says by its ending what it is.
        data: its bytes.
        what: what errors call it.

    Raises:
        UserError: it cannot be read; also while its records are taken.
    """
    form, named_file = _ENDINGS.get(file.suffix.lower()), f"{what} {file.name!r}"
    if form == "parquet" or data.startswith(_PARQUET):
        return _table(_parquet_records(named_file, data))
    other = next((said for start, said in _NOT_TEXT.items() if data.startswith(start)), None)
    if other is not None:
        raise UserError(f"{named_file} is {other}")
    if form in {"json", "jsonl"}:
        return _json_table(named_file, data, lines=form == "jsonl")
    text = _text(named_file, data)
    # by the first line that says something: what programs write there names the separator
    first = next((line for line in text.splitlines() if line.strip()), "")
    said = first.strip().strip('"').lower()
    named = said.removeprefix("sep=") if said.startswith("sep=") else None
    delimiter = (named or ",")[:1] if named is not None else _delimiter(first)
    if said in {"sep=", "sep=\\t"}:
        delimiter = "\t"  # the tab was stripped with the line's end
    return _table(_csv_records(named_file, text, delimiter, skip=named is not None), delimiter)


def _table(records: Iterator[Record], delimiter: str = ",") -> LabelTable:
    header = next(records, None)
    names = {name.strip().lower() for name in header.cells} if header else set()
    return LabelTable(header, records, delimiter, is_label_studio(names))


# -- CSV ----------------------------------------------------------------------------------------------------------


def _text(named_file: str, data: bytes) -> str:
    encoding = (
        json.detect_encoding(data[:4]) if data[:4].count(0) or data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8"
    )
    try:
        return data.decode("utf-8-sig" if encoding.startswith("utf-8") else encoding).lstrip("\ufeff")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise UserError(f"{named_file}, line {line}: not UTF-8 text; save it as CSV UTF-8") from exc


def _delimiter(header: str) -> str:
    """Return what separates the names of a header: of the usual characters the one that it has most of."""
    outside = re.sub(r'"[^"]*"', "", header)  # a quoted name may hold all of them
    return max(_DELIMITERS, key=outside.count)


def _csv_records(named_file: str, text: str, delimiter: str, *, skip: bool) -> Iterator[Record]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter, skipinitialspace=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as exc:
            raise UserError(f"{named_file}, line {line}: not CSV ({exc})") from exc
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if skip:
            skip = False  # the line that names the separator
            continue
        yield Record(line, cells)


# -- Parquet ------------------------------------------------------------------------------------------------------


def _parquet_records(named_file: str, data: bytes) -> Iterator[Record]:
    try:
        found = pq.ParquetFile(io.BytesIO(data))
        # a file of a few kilobytes may hold a thousand million equal rows
        if found.metadata.num_rows > MOST_ROWS:
            raise UserError(f"{named_file} has {found.metadata.num_rows:,} rows; at most {MOST_ROWS:,} are read")
        table = found.read()
    except (pa.ArrowException, OSError) as exc:
        raise UserError(f"{named_file} is not Parquet: {exc}") from exc
    yield Record(1, table.column_names)
    number = 1
    for batch in table.to_batches():
        # by place: two columns may have one name
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            number += 1
            yield Record(number, [_cell(value) for value in values])


def _cell(value: object) -> str:
    """Return a cell of Parquet or JSON as the CSV would hold it; times and decimals too."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, list | dict):
        value = json.dumps(value, default=str)
    return (
        ""
        if value is None or value != value
        else clean_text(value if isinstance(value, str | int | float) else str(value), _LONGEST)
    )


# -- JSON ---------------------------------------------------------------------------------------------------------


def _json_table(named_file: str, data: bytes, *, lines: bool) -> LabelTable:
    rows, is_export = label_studio_rows(_json_rows(named_file, data, lines=lines))
    if len(rows) > MOST_ROWS:
        raise UserError(f"{named_file} has {len(rows):,} rows; at most {MOST_ROWS:,} are read")
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    header = Record(1, names) if names else None
    records = (Record(line, [_cell(row.get(name)) for name in names]) for line, row in rows)
    return LabelTable(header, records, is_label_studio=is_export)


def _is_json_lines(text: str) -> bool:
    """Tell whether a file that is called JSON holds an object on its first line, and more below it."""
    first, _, rest = text.lstrip().partition("\n")
    try:
        return bool(rest.strip()) and isinstance(parse_json(first), dict)
    except ValueError:
        return False


def _by_row(value: object) -> object:
    """Return the rows of a table that pandas wrote by column ({"rating": {"0": 5}}); anything else as it is."""
    if not isinstance(value, dict) or not value or not all(isinstance(column, dict) for column in value.values()):
        return value
    rows = dict.fromkeys(key for column in value.values() for key in column)
    return [{name: column.get(key) for name, column in value.items()} for key in rows]


def _json_rows(named_file: str, data: bytes, *, lines: bool) -> list[tuple[int, dict[str, Any]]]:
    """Return the objects of a file, each with its line (JSON Lines) or its number."""
    text = _text(named_file, data)
    lines = lines or _is_json_lines(text)
    parts = (
        [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()] if lines else [(1, text)]
    )
    values: list[tuple[int, Any]] = []
    for number, part in parts:
        try:
            value = parse_json(part)
        except ValueError as exc:
            raise UserError(f"{named_file}, line {number}: not JSON ({exc})") from exc
        value = value if lines else _by_row(value)
        values.extend(enumerate(value, 1) if isinstance(value, list) and not lines else [(number, value)])
    wrong = next((number for number, value in values if not isinstance(value, dict)), None)
    if wrong is not None:
        raise UserError(
            f"{named_file}, entry {wrong}: a row must be an object such as "
            '{"video": "run.mp4", "start_s": 16, "rating": 5}'
        )
    return values
