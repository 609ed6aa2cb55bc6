"""Keep the answers of an unfinished search on this machine's disk, so that no page is requested twice.

A search of a large site takes an hour of polite requests and writes its rows at the end. A search that was killed
before that resumes from this file: JSON lines, appended page by page, and deleted once the rows are written.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from pipeline.outside import clean_age, clean_seconds, clean_texts, parse_json
from pipeline.sources.base import Candidate

_LONGEST = 20000
_FRESH_S = 3 * 86400.0
"""Older answers are dropped, because titles and rights change."""
_FIELDS = {field.name for field in dataclasses.fields(Candidate)}


class SearchJournal:
    """The answers of a search that has not written its rows yet."""

    def __init__(self, path: Path | None) -> None:
        """Prepare a journal at a path, opened by `with`; None keeps no journal."""
        self.path = path
        self.answers: dict[str, Candidate] = {}
        self.done = False
        """Whether the rows are in the store: the file is deleted then."""
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        if self.path is not None:
            self.answers = _read(self.path)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self.path is not None and self.done:
            self.path.unlink(missing_ok=True)

    def __contains__(self, video_id: str) -> bool:
        return video_id in self.answers

    def note(self, candidate: Candidate) -> None:
        """Append the metadata that a page gave, once for each video."""
        if self._file is None or candidate.video_id in self.answers:
            return
        self.answers[candidate.video_id] = candidate
        # it starts with a line break, because the last line may be torn
        self._file.write("\n" + json.dumps({"at": time.time(), **dataclasses.asdict(candidate)}) + "\n")
        self._file.flush()


def _read(path: Path) -> dict[str, Candidate]:
    found: dict[str, Candidate] = {}
    try:
        lines = path.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return found
    with lines:
        for line in lines:
            candidate = _candidate(line)
            if candidate is not None:
                found[candidate.video_id] = candidate
    return found


def _candidate(line: str) -> Candidate | None:
    """Return the candidate of a line; None for one that is torn, damaged, too old, or of another version."""
    try:
        row: dict[str, Any] = parse_json(line)
        if time.time() - float(row.pop("at")) > _FRESH_S or row.keys() != _FIELDS:
            return None
        row["tags"] = clean_texts(row["tags"], len(row["tags"]), _LONGEST)
        duration_s, age_limit = clean_seconds(row.pop("duration_s")), clean_age(row.pop("age_limit"))
        if any(not isinstance(value, str | bool | tuple | None) for value in row.values()):
            return None
        return Candidate(**row, duration_s=duration_s, age_limit=age_limit)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
