"""How long a search may ask: all in all, and one site that makes it wait.

One request is bounded by itself (`allowance`). But a list may name a thousand pages of a site that answers none of
them, and a thousand times the longest wait is a day.
"""

from __future__ import annotations

import time
from collections import Counter

from pipeline.errors import RetryableError

_SLOW_FAILURES = 3


class Patience:
    """What is left of a search's time, and the sites that used up theirs."""

    now = staticmethod(time.monotonic)

    def __init__(self, *, search_s: float | None = None, slow_s: float = 30.0) -> None:
        """Start the clock.

        Args:
            search_s: seconds that the whole search may take; None: no limit.
            slow_s: a failure after this many seconds counts against its site.
        """
        self.search_s, self.slow_s = search_s, slow_s
        self.end = None if search_s is None else self.now() + search_s
        self.slow: Counter[str] = Counter()

    def check(self, site: str) -> None:
        """Raise RetryableError (`timeout`) where the search's time is over, or the site failed slowly too often."""
        if self.end is not None and self.now() > self.end:
            raise RetryableError(
                f"not asked: the search took longer than source.max_search_s = {self.search_s:g} s; the next search "
                "asks for it",
                error_class="timeout",
            )
        if self.slow[site] >= _SLOW_FAILURES:
            raise RetryableError(
                f"not asked: {site} took more than {self.slow_s:g} s for each of {_SLOW_FAILURES} requests that failed",
                error_class="timeout",
            )

    def note(self, site: str, seconds: float, *, failed: bool) -> None:
        """Count a request that failed after this many seconds; one that did not fail clears its site."""
        if not failed:
            del self.slow[site]
        elif seconds >= self.slow_s:
            self.slow[site] += 1
