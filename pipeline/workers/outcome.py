"""What a run of the engine takes and gives: the `Engine` protocol, `Outcome` of an item, and `Later`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from pipeline.errors import STORE_TROUBLE, StoreError
from pipeline.usage import Usage

T = TypeVar("T")
WORKER_DIED, TIMEOUT, OUT_OF_MEMORY = "worker_died", "timeout", "out_of_memory"
ENDED = frozenset({WORKER_DIED, TIMEOUT, OUT_OF_MEMORY})
"""Error classes that the engine gives; their messages are its own and hold no path."""


def late_text(deadline_s: float, setting: str = "") -> str:
    """Return the message of an item that was ended at its deadline; `setting` says how long that is."""
    return f"ran longer than {deadline_s:g} s{f' ({setting})' if setting else ''} and was ended"


def over_memory_text(memory_mb: int) -> str:
    """Return the message of an item that needs more memory than a worker may hold; 0: than the machine gives."""
    if not memory_mb:
        return "needs more memory than this machine gives"
    return f"needs more memory than a worker process may hold (engine.memory_mb = {memory_mb}) and was ended"


@dataclass(frozen=True)
class Outcome:
    """The result of one item."""

    ok: bool
    value: Any
    """The function's result (None unless ok)."""
    error_class: str
    """`error_class` of the exception if it has one, else its type's name; `worker_died`; `timeout`;
    `out_of_memory`; "" if ok."""
    message: str
    attempts: int
    """Times it was tried: above 1 only where a worker died."""
    usage: Usage = field(default=Usage(), compare=False)
    """What the worker has used since its last outcome."""


def raise_store_trouble(outcome: Outcome) -> None:
    """Raise the StoreError that an item ended with: it is not the item's, and would be that of all others."""
    if outcome.error_class == STORE_TROUBLE:
        raise StoreError(outcome.message)


@dataclass(frozen=True)
class Later:
    """Yielded by an iterable of items that has none right now: ask again after this time, or after an outcome."""

    seconds: float


class Engine(Protocol):
    """Runs a top-level function over items in other processes; never raises for an item, only for the whole store."""

    def run(
        self, fn: Callable[[Any], Any], items: Iterable[T], *, initializer: Callable[[], Any] | None = None
    ) -> Iterator[tuple[T, Outcome]]:
        """Yield each item with its outcome, unordered; closing the iterator stops the workers."""
        ...
