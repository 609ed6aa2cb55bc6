"""Show the progress of long work: stage, items done of total, rate and time left, on a terminal or in a log.

    with Progress("clips", total=45, unit="videos") as progress:
        for row in rows:
            progress.advance()

A terminal gets one line that is redrawn. A log gets a new line at most every `every_s` seconds, so that it stays
readable after a day. `on_progress` is called with the same lines; Dagster's log shows them. The module's logger gets a
record at the end of a stage (INFO) and one per item (DEBUG).
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from pipeline.outside import shown_text

ProgressCallback = Callable[[str], None]
_LOGGER = logging.getLogger(__name__)
_lines_shown = True


def show_progress_lines(shown: bool) -> None:
    """Switch the lines of all stages in this process on or off; log records and callbacks are not affected."""
    global _lines_shown
    _lines_shown = shown


class Notice(str):
    """A line that is no progress, and that no callback may leave out: what was resumed, skipped or lost."""

    __slots__ = ()


def notify(text: str, on_progress: ProgressCallback | None) -> None:
    """Show a line at once: on the terminal, in the module's log, and to the callback as a `Notice`."""
    _LOGGER.info("%s", text)
    if _lines_shown:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    if on_progress is not None:
        on_progress(Notice(text))


class Progress:
    """A stage's count of items done; `advance` is cheap enough to call per item."""

    def __init__(
        self,
        stage: str,
        total: int | None = None,
        unit: str = "items",
        *,
        stream: TextIO | None = None,
        every_s: float = 5.0,
        on_progress: ProgressCallback | None = None,
    ) -> None:
        self.stage, self.total, self.unit = stage, total, unit
        self.done = 0
        self.note = ""
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._every_s = 0.2 if self._terminal else every_s
        self._on_progress = on_progress
        self._start = self._shown = time.monotonic()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count items as done; `note`, such as a loss or a name, is shown after the numbers."""
        self.done += count
        self.note = note or self.note
        if _LOGGER.isEnabledFor(logging.DEBUG):
            _LOGGER.debug("%s: %s %d %s", self.stage, self.unit, self.done, note, extra={"stage": self.stage})
        if time.monotonic() - self._shown >= self._every_s:
            self._show()

    def line(self) -> str:
        """Return the line that is shown: stage, done of total, rate, time left."""
        elapsed = max(time.monotonic() - self._start, 1e-9)
        rate = self.done / elapsed
        total = "" if self.total is None else f"/{self.total}"
        text = f"{self.stage}: {self.done}{total} {self.unit}, {rate:.1f}/s"
        if self.total is not None and 0 < self.done < self.total:
            left = (self.total - self.done) / rate
            text += f", {int(left // 60)}:{int(left % 60):02d} left"
        return shown_text(text + (f" ({self.note})" if self.note else ""))

    def _show(self, end: bool = False) -> None:
        self._shown = time.monotonic()
        line = self.line()
        if end:
            seconds = self._shown - self._start
            line += f", took {seconds:.1f} s"
            facts = {"stage": self.stage, "done": self.done, "total": self.total, "seconds": round(seconds, 3)}
            _LOGGER.info("%s", line, extra=facts)
        if not _lines_shown:
            pass
        elif self._terminal:
            self._stream.write(f"\r\x1b[K{line}" + ("\n" if end else ""))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()
        if self._on_progress is not None:
            self._on_progress(line)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show(end=True)
