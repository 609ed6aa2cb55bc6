"""A store that records whether something would be written: how a stage is asked what it would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.storage.rows import Rows
from pipeline.storage.store import Store


class DryRunStore(Store):
    """A store whose tables are read as usual and never written."""

    touched = False
    """Whether anything would have been written."""

    def append(self, name: str, rows: Rows, inputs: Mapping[str, Any] | None = None) -> int:
        """Record that rows would be appended."""
        self.touched |= len(rows) > 0
        return self.version(name)

    def merge(self, name: str, rows: Rows, on: Sequence[str], *inputs: Any, **how: Any) -> int:
        """Record that rows would be merged."""
        self.touched |= len(rows) > 0
        return self.version(name)

    def add_to_lists(self, name: str, on: str, column: str, additions: Mapping[str, Sequence[str]]) -> int:
        """Record that lists would grow."""
        self.touched |= len(additions) > 0
        return self.version(name)
