"""Decode a sidecar of actions to columns: from lines of JSON objects, or from Parquet."""

from __future__ import annotations

import codecs
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import PermanentError
from pipeline.outside import parse_json

BAD_ACTIONS = "bad_actions"
# programs that note held keys mostly call them so
_ACTION, _FRAME, _TIME = ("action", "keys"), ("frame", "frame_index"), ("t", "timestamp")
# what is read, as objects, must fit into a worker (`engine.memory_mb`): 23 hours at 60 frames a second
_MOST_ROWS, _MOST_NUMBERS = 5_000_000, 10_000_000
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip", b"BZh": "bzip2"}


class BadSidecarError(PermanentError):
    """A sidecar that cannot be used; the message says why, and what would be right."""

    def __init__(self, message: str) -> None:
        super().__init__(message, error_class=BAD_ACTIONS)


@dataclass(frozen=True)
class Columns:
    """The rows of a sidecar as they are written."""

    actions: Sequence[Any]
    frames: Sequence[Any] | None
    """None where no row has one."""
    times: Sequence[Any] | None
    numbers: Sequence[int] = field(default_factory=list)
    """Of each row, as a person counts lines or rows."""
    unit: str = "row"

    def wrong(self, place: int, why: str) -> BadSidecarError:
        """Return the error of one row."""
        return BadSidecarError(f"{self.unit} {self.numbers[place]}: {why}")


def read_jsonl(data: bytes) -> Columns:
    """Return the rows of lines of JSON objects; empty lines are no rows. BadSidecarError where it is something else."""
    for head, name in _PACKED.items():
        if data.startswith(head):
            raise BadSidecarError(f"it is packed with {name}: unpack it")
    if data.startswith(b"PAR1"):
        raise BadSidecarError("it is Parquet: let its name end in .parquet")
    rows, numbers = [], []
    # not `splitlines`: a text in JSON may hold other ends of lines
    for number, line in enumerate(_text(data).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise BadSidecarError(f'line {number} is no JSON object: write one object a line, as {{"action": 3}}')
        rows.append(row)
        numbers.append(number)
    actions, times = (_column_of(rows, numbers, names) for names in (_ACTION, _TIME))
    if rows and actions is None:
        raise BadSidecarError(_no_action(list(rows[0])))
    # rows that have times need no frames
    frames = None if times is not None else _column_of(rows, numbers, _FRAME)
    return Columns(actions or [], frames, times, numbers, "line")


def _text(data: bytes) -> str:
    encoding = "utf-16" if data.startswith(_UTF16) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise BadSidecarError("it is no text in UTF-8: save it as UTF-8") from error
    if "\0" in text:
        raise BadSidecarError("it is text in UTF-16 or UTF-32 without a mark, or no text: save it as UTF-8")
    return text


def _column_of(rows: Sequence[dict[str, Any]], numbers: Sequence[int], names: Sequence[str]) -> list[Any] | None:
    """Return a field of all rows; None where no row has it, BadSidecarError where only some do."""
    name = next((name for name in names if any(name in row for row in rows)), None)
    if name is None:
        return None
    lacking = next((place for place, row in enumerate(rows) if name not in row), None)
    if lacking is not None:
        raise BadSidecarError(
            f"line {numbers[lacking]}: it has no field `{name}`, which other rows have: write it in all"
        )
    return [row[name] for row in rows]


def read_parquet(data: bytes) -> Columns:
    """Return the rows of a Parquet file. BadSidecarError where it is none, or too large."""
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        about = file.metadata
        names = file.schema_arrow.names
        if names.count(next((name for name in _ACTION if name in names), "action")) != 1:
            raise BadSidecarError(_no_action(names))
        chosen = {each[0]: next((name for name in each if name in names), None) for each in (_ACTION, _FRAME, _TIME)}
        # a list of a billion equal numbers takes a few bytes
        numbers = sum(
            about.row_group(group).column(column).num_values
            for group in range(about.num_row_groups)
            for column in range(about.num_columns)
            if about.schema.column(column).path.split(".")[0] in chosen.values()
        )
        if about.num_rows > _MOST_ROWS or numbers > _MOST_NUMBERS:
            raise BadSidecarError(
                f"it has {about.num_rows} rows and {numbers} values: at most {_MOST_ROWS} rows and {_MOST_NUMBERS} "
                "values are read; split the recording"
            )
        table = file.read(columns=[name for name in chosen.values() if name is not None])
    except (pa.ArrowException, OSError, EOFError) as error:
        raise BadSidecarError(f"it is no Parquet file that can be read ({str(error).splitlines()[0][:200]})") from error
    found = {own: None if name is None else table[name].to_pylist() for own, name in chosen.items()}
    return Columns(found["action"] or [], found["frame"], found["t"], range(1, len(table) + 1))


def _no_action(names: Sequence[str]) -> str:
    there = ", ".join(str(name)[:40] for name in names[:8]) or "none"
    return (
        f"it has no field `action` (its fields: {there}): name the field of the action so, or that of held keys `keys`"
    )
