"""Do one function over a few large items of a stage: in this process, or as tasks of a cluster.

The function computes with all cores of this machine by itself (a network, arrays, files one after the other), so worker
processes here would gain nothing. Results come in the order of the items, whichever ends first, and the first item that
fails ends the stage, as it does in this process: what these stages publish is whole or not there.

    for part, table in spread(partial(rows_of, store=store), parts, config.engine, store=store):
        ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from pipeline.config.engine import EngineConfig
from pipeline.errors import PermanentError, UserError
from pipeline.storage.store import Store
from pipeline.workers.engine import make_engine
from pipeline.workers.outcome import Outcome

T = TypeVar("T")
R = TypeVar("R")


def spread(
    fn: Callable[[T], R], items: Iterable[T], config: EngineConfig, *, store: Store, networks: bool = False
) -> Iterator[tuple[T, R]]:
    """Yield each item with its result, in order.

    Args:
        fn: a function (or `functools.partial` of one) that workers can import.
        items: picklable.
        config: which backend, and how long an item may take on a cluster.
        store: what the items read and write.
        networks: whether the items run a network.

    Raises:
        UserError: a node raised it, or the cluster cannot be used.
        PermanentError: an item was ended on the cluster, or failed there in another way.
    """
    if config.backend == "local":
        for item in items:
            yield item, fn(item)
        return
    engine = make_engine(config, store=store, networks=networks)
    early: dict[int, Any] = {}
    waiting: dict[int, T] = {}
    place = 0

    def numbered() -> Iterator[tuple[int, T]]:
        for number, item in enumerate(items):
            waiting[number] = item
            yield number, item

    for (number, _), outcome in engine.run(_Numbered(fn), numbered()):
        early[number] = _value(outcome)
        while place in early:
            yield waiting.pop(place), early.pop(place)
            place += 1


class _Numbered:
    """The function over items with their places."""

    def __init__(self, fn: Callable[[Any], Any]) -> None:
        self.fn = fn

    def __call__(self, item: tuple[int, Any]) -> Any:
        return self.fn(item[1])


def _value(outcome: Outcome) -> Any:
    if outcome.ok:
        return outcome.value
    if outcome.error_class == UserError.__name__:
        raise UserError(outcome.message)
    raise PermanentError(f"{outcome.error_class}: {outcome.message}", error_class=outcome.error_class)
