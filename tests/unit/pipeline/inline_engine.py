"""An engine without processes: for tests of what the items' function does. The process pool has tests of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pipeline.workers.outcome import Later, Outcome


class InlineEngine:
    """Runs each item in this process, and calls `after` with it before its outcome is taken."""

    def __init__(self, after: Callable[[Any], object] = lambda item: None) -> None:
        self.after = after

    def run(self, fn: Callable[[Any], Any], items: Iterable[Any], *, initializer: Any = None) -> Iterator[Any]:
        for item in items:
            if not isinstance(item, Later):
                outcome = Outcome(True, fn(item), "", "", 1)
                self.after(item)
                yield item, outcome
