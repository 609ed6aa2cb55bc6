"""Read a file of labels, by its ending CSV, Parquet or JSON; any error in it refuses the whole file and names the line.

Two forms, one header line each:

    clip_id,rating
    folder-run-1-0123456789-000016000-1a2b3c4d,5

    video,start_s,rating
    "Level 1, part two.mp4",32,1

`video` is a file name, a path, a name without its ending, a URL, a native id or a video id. Without `start_s` a rating
is one of the whole video. `classifier.labels.label_table` says which files of other programs are read.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from classifier.labels.journal import REASONS
from classifier.labels.label_studio import own_path, rating_in_cell, with_our_names, without_upload_prefix
from classifier.labels.label_table import LabelTable, Record, read_table
from pipeline.errors import UserError
from pipeline.ids import CLIP_ID_PATTERN
from pipeline.outside import clean_number, clean_seconds, clean_text
from pipeline.regular_file import read_regular

_KNOWN = ("clip_id", "video", "start_s", "rating")
# columns of our own export and of people's tables: those from `annotator` to `repeat` are imported, the others ignored
_EXTRA = ("annotator", "stream", "seconds", "inclusion", "reasons", "repeat", "title", "note", "labelled_at", "origin")
_LEAD_TIME = "lead_time"
"""Label Studio's name for the seconds that a rating took."""
_DECIMAL_COMMA = re.compile(r"[0-9]+,[0-9]+")
_A_START = re.compile(r"(clip|segment)?[\s_-]*(start|begin|offset|from$|time_?code|time_?s$)")
"""Names of columns that may say where in its video a clip begins."""
_LARGEST = 256 << 20
_LONGEST = 10_000
_FORMS = "the header must hold clip_id,rating or video,start_s,rating (start_s may be left out)"
_SHOWN = 12


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
    inclusion: float | None
    """Probability with which the stream drew the clip."""
    reasons: tuple[str, ...]
    """What is wrong with the clip, of `REASONS`."""
    repeat: bool = False
    """Whether the person had rated the clip before, so that this tells only how far they agree with themselves."""

    def __str__(self) -> str:
        """Return the line and the clip, for a person."""
        where = "whole video" if self.start_s is None else f"at {self.start_s} s"
        return f"line {self.line}: {self.clip_id or f'{self.video} {where}'}"


@dataclass(frozen=True)
class LabelFile:
    """A file of labels that was read and checked."""

    name: str
    sha256: str
    rows: tuple[LabelRow, ...]
    ignored: tuple[str, ...] = ()
    """Columns that were not read."""
    skipped: int = 0
    """Rows of Label Studio whose task was skipped: they hold no rating."""


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
    table = read_table(file, data)
    if table.header is None:
        raise UserError(f"label file {file.name!r} is empty: {_FORMS}")
    names = _header(file, table)
    read = list(_rows(file, table, names))
    rows = tuple(row for row in read if row is not None)
    if not rows:
        raise UserError(f"label file {file.name!r} has no rows below its header: nothing to import")
    ignored = tuple(name or "(unnamed)" for name in names if name not in {*_KNOWN, *_EXTRA, _LEAD_TIME})
    return LabelFile(file.name, hashlib.sha256(data).hexdigest(), rows, ignored, len(read) - len(rows))


def check_label_file(path: str | Path) -> int:
    """Return the number of ratings in a file; UserError names the line of anything that an import would refuse.

    It does not check whether the clips exist: a file may be checked before the first video is downloaded.
    """
    return len(read_label_file(path).rows)


def _rows(file: Path, table: LabelTable, names: list[str]) -> Iterator[LabelRow | None]:
    """Yield the rows of a table; None for one of Label Studio without a rating."""
    for record in table.records:
        where = f"label file {file.name!r}, line {record.line}"
        cells = list(record.cells)
        while len(cells) > len(names) and not cells[-1].strip():
            cells.pop()  # a spreadsheet ends lines with separators
        if len(cells) != len(names):
            fix = (
                f"quote cells that hold {_spoken(table)}"
                if len(cells) > len(names)
                else f"write one cell for each of them, also an empty one, or delete column {names[len(cells)]!r}"
            )
            raise UserError(f"{where}: {len(cells)} cells under {len(names)} columns; {fix}")
        values = dict(zip(names, cells, strict=True))
        if table.is_label_studio:
            values["rating"] = rating_in_cell(values["rating"])
        if table.is_label_studio and not values["rating"].strip():
            yield None
        else:
            yield _row(values, record.line, where)


def _spoken(table: LabelTable) -> str:
    return {",": "commas", ";": "semicolons", "\t": "tabs"}.get(table.delimiter, repr(table.delimiter))


def _header(file: Path, table: LabelTable) -> list[str]:
    header = table.header or Record(1, [])
    names = [_our_name(cell.strip().lower()) for cell in header.cells]
    while names and not names[-1]:
        names.pop()  # a spreadsheet ends lines with separators
    if table.is_label_studio:
        names = with_our_names(names)
    where = f"label file {file.name!r}, line {header.line}"
    repeated = sorted(name for name, count in Counter(names).items() if count > 1 and name in {*_KNOWN, *_EXTRA})
    if repeated:
        raise UserError(f"{where}: column {', '.join(repeated)} is there twice: delete one of them")
    if "rating" not in names or not {"clip_id", "video"} & set(names):
        found = ", ".join(repr(name[:60]) for name in names[:_SHOWN])
        raise UserError(f"{where}: found the columns {found}; {_FORMS}: rename or add columns")
    moment = next((name for name in names if _A_START.match(name)), "")
    if moment and not {"start_s", "clip_id"} & set(names):
        # without it each rating would be one of a whole video
        raise UserError(
            f"{where}: column {moment[:60]!r} is not read as the start of a clip; rename it to start_s and write "
            "seconds, or delete it if each rating is one of a whole video"
        )
    return names


def _our_name(name: str) -> str:
    """Return a column's name as ours where it is spelled with other signs: `Start (s)`, `clip-id`."""
    spelled = re.sub(r"[\s()\[\]_-]+", "_", name).strip("_")
    return spelled if spelled in {*_KNOWN, *_EXTRA} else name


def _row(cells: Mapping[str, str], line: int, where: str) -> LabelRow:
    values = {name: clean_text(cells.get(name, "").strip(), _LONGEST) for name in (*_KNOWN, *_EXTRA, _LEAD_TIME)}
    for name in ("rating", "start_s", "seconds", "inclusion", _LEAD_TIME):
        if _DECIMAL_COMMA.fullmatch(values[name]):
            values[name] = values[name].replace(",", ".")
    rating = clean_number(values["rating"], 5, least=1)
    if rating is None or not rating.is_integer():
        raise UserError(
            f"{where}: rating {values['rating']!r} is not 1, 2, 3, 4 or 5; nothing was imported. Write one of "
            "them, or delete the line"
        )
    start_s = clean_seconds(values["start_s"])
    if values["start_s"] and start_s is None:
        raise UserError(
            f"{where}: start_s {values['start_s']!r} is not a time in seconds; nothing was imported. Write a number "
            "such as 16 or 16.5"
        )
    if not values["clip_id"] and not values["video"]:
        raise UserError(f"{where}: the row names no clip (clip_id, or video and start_s); nothing was imported")
    inclusion = clean_number(values["inclusion"], 1)
    if values["inclusion"] and not inclusion:
        raise UserError(
            f"{where}: inclusion {values['inclusion']!r} is not a probability above 0 and up to 1; nothing was "
            "imported. Write one, or leave the cell empty"
        )
    video = own_path(values["video"])
    return LabelRow(
        line=line,
        clip_id=(_clip_of_name(values["clip_id"]) or values["clip_id"])
        or (_clip_of_name(video) if start_s is None else None),
        video=video or None,
        start_s=start_s,
        rating=int(rating),
        annotator=values["annotator"],
        stream=values["stream"],
        seconds=clean_seconds(values["seconds"] or values[_LEAD_TIME]),
        inclusion=inclusion,
        reasons=tuple(reason for reason in REASONS if _says(values["reasons"], reason)),
        repeat=values["repeat"].lower() in {"true", "1", "yes"},
    )


def _says(cell: str, reason: str) -> bool:
    """Return whether a cell names a reason, however it separates and writes them."""
    spelled = reason.replace("_", "[_ -]")
    return re.search(rf"(?<![a-z_-]){spelled}(?![a-z_-])", cell.lower()) is not None


def _clip_of_name(video: str) -> str | None:
    """Return the clip of a file that is named after one, as exported clips are."""
    name = PurePosixPath(video.replace("\\", "/")).name
    stem = without_upload_prefix(name).removesuffix(".mp4")
    return stem if re.fullmatch(CLIP_ID_PATTERN, stem) else None
