"""How long a search may ask: all in all, one of its lists, and one site that makes it wait.

One request is bounded by itself (`allowance`). But a list may name a thousand pages of a site that answers none of
them, and a thousand times the longest wait is a day.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from pipeline.errors import RetryableError

_SLOW_REQUESTS = 3
_SHARE = 0.5
T = TypeVar("T")


class Patience:
    """What is left of a search's time, and the sites that used up theirs."""

    now: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self, *, search_s: float | None = None, slow_s: float = 30.0) -> None:
        """Start the clock.

        Args:
            search_s: seconds that the whole search may take; None: no limit.
            slow_s: a request that takes longer counts against its site.
        """
        self.search_s, self.slow_s = search_s, slow_s
        self.end = self.list_end = None if search_s is None else self.now() + search_s
        self.slow: Counter[str] = Counter()

    def shared(self, lists: Iterable[T]) -> Iterator[T]:
        """Yield the lists of a search: each may take half of the time that is left, the last one all of it."""
        for item, is_last in _with_last(lists):
            self._begin_list(last=is_last)
            yield item

    def _begin_list(self, *, last: bool) -> None:
        if self.end is not None:
            now = self.now()
            self.list_end = self.end if last else now + _SHARE * max(self.end - now, 0.0)

    def check(self, site: str) -> None:
        """Raise RetryableError (`timeout`) where the time of the search, its list or the site is used up."""
        now = self.now() if self.end is not None else 0.0
        if self.end is not None and now > self.end:
            raise RetryableError(
                f"not asked: the search took longer than source.max_search_s = {self.search_s:g} s; the next search "
                "asks for it",
                error_class="timeout",
            )
        if self.list_end is not None and now > self.list_end:
            raise RetryableError(
                f"not asked: its list took longer than its share of source.max_search_s = {self.search_s:g} s; the "
                "next search asks for it",
                error_class="timeout",
            )
        if self.slow[site] >= _SLOW_REQUESTS:
            raise RetryableError(
                f"not asked: each of the last {_SLOW_REQUESTS} requests to {site} took more than {self.slow_s:g} s",
                error_class="timeout",
            )

    def note(self, site: str, seconds: float) -> None:
        """Count a request that took this many seconds; a quick one clears its site."""
        if seconds < self.slow_s:
            del self.slow[site]
        else:
            self.slow[site] += 1


def _with_last(items: Iterable[T]) -> Iterator[tuple[T, bool]]:
    """Yield each item, and whether it is the last; one item is read ahead."""
    waiting: list[T] = []
    for item in items:
        if waiting:
            yield waiting.pop(), False
        waiting.append(item)
    for item in waiting:
        yield item, True
