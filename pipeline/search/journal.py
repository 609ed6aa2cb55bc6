"""What an unfinished search was told, on this machine's disk: pages that were answered are not asked again.

A search of a large site takes an hour of polite requests and writes its rows at the end; one that is killed before
goes on from here. The file is JSON lines, appended as pages are answered, and gone when the search has written its
rows.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from pipeline.sources.base import Candidate

_FRESH_S = 3 * 86400.0
"""Older answers are asked again: titles and rights change."""
_FIELDS = {field.name for field in dataclasses.fields(Candidate)}


class SearchJournal:
    """The answers of a search that has not written its rows yet."""

    def __init__(self, path: Path | None) -> None:
        """Open nothing yet; None keeps no journal (a source that costs nothing to ask)."""
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
        """Write down what a page said."""
        if self._file is None or candidate.video_id in self.answers:
            return
        self.answers[candidate.video_id] = candidate
        # a line of its own at the start too: the last one may be torn
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
    """Return what a line says; None for one that is torn, too old, or of another version."""
    try:
        row: dict[str, Any] = json.loads(line)
        if time.time() - float(row.pop("at")) > _FRESH_S or row.keys() != _FIELDS:
            return None
        return Candidate(**{**row, "tags": tuple(row["tags"])})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
