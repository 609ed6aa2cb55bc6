"""Standard logging of the command: silent by default, `-v` for stages, `-vv` for items, JSON lines where asked.

Modules log to loggers of their own name; only this file decides where the records go.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import TextIO

from pipeline.outside import shown_text, shown_values
from pipeline.progress import show_progress_lines

PACKAGES = ("assets", "classifier", "models", "pipeline")
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
# what every record has: the rest was passed as `extra`
_STANDARD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to the stderr of the moment: a test, or a caller that redirects it, may replace it between records."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr  # `setStream` would flush the one before, which may be closed
        super().emit(record)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the record's extra values."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **extra,
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(shown_values(line), default=lambda value: shown_text(value))


class PlainLines(logging.Formatter):
    """Plain text, addresses without user, password and query."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record, with its traceback."""
        return shown_text(super().format(record))


def json_wanted(option: bool) -> bool:
    """Return whether logs are JSON: by `--log-json`, or by `LAMPWORKS_LOG=json`."""
    return option or os.environ.get("LAMPWORKS_LOG") == "json"


def set_up_logging(verbose: int = 0, *, as_json: bool = False, stream: TextIO | None = None) -> None:
    """Send the records of our packages to stderr.

    Args:
        verbose: 0 shows warnings, 1 also stages (INFO), 2 also items (DEBUG); JSON shows stages at least.
        as_json: whether each record is one JSON line, in place of the progress lines.
        stream: where to write; None means stderr.
    """
    handler: logging.Handler = logging.StreamHandler(stream) if stream else _Stderr()
    plain = PlainLines("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if as_json else plain)
    level = _LEVELS[min(max(verbose, int(as_json)), len(_LEVELS) - 1)]
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(level)
    show_progress_lines(not as_json)
