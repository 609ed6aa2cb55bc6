"""Ask one function in one worker process, one item after the other: each answer comes before the next item.

The engine (`make_engine`) is for many items whose order does not matter. A search asks page by page, and what it asks
next depends on the answer. A worker that dies, hangs or takes too much memory is an answer too, and the next item gets
a new worker.

    with Asked(answer, config.engine, deadline_s=600) as asked:
        outcome = asked(question)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from pipeline.config.engine import EngineConfig
from pipeline.workers.engine import make_engine
from pipeline.workers.outcome import Later, Outcome

_NOTHING_YET_S = 0.05


class Asked:
    """A function in a worker process of its own, which starts with the first item."""

    def __init__(self, fn: Callable[[Any], Any], config: EngineConfig, *, deadline_s: float) -> None:
        """Prepare a worker without starting it.

        Args:
            fn: a function that workers can import.
            config: its memory; how often an item that kills its worker is tried.
            deadline_s: seconds after which an item is ended.
        """
        self.fn, self.config, self.deadline_s = fn, config, deadline_s
        self._items: deque[Any] = deque()
        self._outcomes: Iterator[tuple[Any, Outcome]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, item: Any) -> Outcome:
        """Return the outcome of one item; RuntimeError where no worker can start."""
        self._items.append(item)
        if self._outcomes is None:
            # not eager: the next item is there only once this outcome was seen
            engine = make_engine(self.config, workers=1, deadline_s=self.deadline_s, eager=False, here=True)
            self._outcomes = engine.run(self.fn, self._given())
        return next(self._outcomes)[1]

    def close(self) -> None:
        """Stop the worker."""
        close = getattr(self._outcomes, "close", None)
        self._outcomes = None
        if close is not None:
            close()

    def _given(self) -> Iterator[Any]:
        while True:
            yield self._items.popleft() if self._items else Later(_NOTHING_YET_S)
