"""An engine without processes, for tests of what the work does; the processes have tests of their own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from pipeline.workers.outcome import Later, Outcome, raise_store_trouble

_PACKAGES = ("assets.", "classifier.", "models.", "pipeline.")
_LONGEST_WAIT_S = 0.05


class InlineEngine:
    """Runs one item after the other in this process: it starts at once, and a store sees what a worker does.

    Args:
        after: called with each item that was worked on, before its outcome is handed over.
    """

    def __init__(self, after: Callable[[Any], object] = lambda item: None) -> None:
        self.after = after

    def run(self, fn: Callable[[Any], Any], items: Iterable[Any], *, initializer: Any = None) -> Iterator[Any]:
        for item in items:
            if isinstance(item, Later):
                time.sleep(min(item.seconds, _LONGEST_WAIT_S))
            else:
                outcome = self._outcome(fn, item)
                self.after(item)
                raise_store_trouble(outcome)
                yield item, outcome

    @staticmethod
    def _outcome(fn: Callable[[Any], Any], item: Any) -> Outcome:
        try:
            return Outcome(True, fn(item), "", "", 1)
        except Exception as error:  # whatever the work raises is the item's outcome, as in a worker process
            return Outcome(False, None, getattr(error, "error_class", type(error).__name__), str(error), 1)


def use_inline_engine(patch: pytest.MonkeyPatch) -> None:
    """Let every stage that is imported so far work without processes."""
    for module in [module for name, module in sys.modules.items() if name.startswith(_PACKAGES)]:
        if hasattr(module, "make_engine"):
            patch.setattr(module, "make_engine", lambda *arguments, **options: InlineEngine())
