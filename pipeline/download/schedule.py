"""Which video is tried next: sites take turns, none is asked more than its limits allow, and one that refuses rests."""

from __future__ import annotations

import errno
import math
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from pipeline.config import DownloadConfig
from pipeline.download.attempt import Tried, Try
from pipeline.download.circuit_breaker import Breaker, closed, opened
from pipeline.download.disk_space import Room
from pipeline.download.rate_limits import SiteLimits
from pipeline.sources.faults import BLOCKING
from pipeline.workers.outcome import TIMEOUT, WORKER_DIED, Later

_UNTIL_AN_OUTCOME_S = 3600.0
# of these nobody knows whether the site would answer: its breaker stays as it is
_NO_ANSWER = frozenset({"transient", "environment", TIMEOUT, WORKER_DIED})


class Feed:
    """The tries of one pass, given out one at a time; what is never given stays pending."""

    def __init__(
        self,
        tries: Iterable[Try],
        config: DownloadConfig,
        breakers: dict[str, Breaker],
        limits: SiteLimits,
        room: Room,
    ) -> None:
        self.config, self.breakers, self.limits, self.room = config, breakers, limits, room
        self.queues: dict[str, deque[Try]] = {}
        for item in tries:
            self.queues.setdefault(item.site, deque()).append(item)
        self.at_work: Counter[str] = Counter()
        self.paused = ""
        """Why nothing more is given, although there are videos left."""

    def __iter__(self) -> Iterator[Try | Later]:
        while self.queues and not self.paused:
            self.paused = self.room.shortage()
            if self.paused:
                return
            site, pause = self._ready_site()
            if site is None:
                if self.queues:
                    yield Later(pause)
                continue
            queue = self.queues.pop(site)
            item = queue.popleft()
            if queue:
                self.queues[site] = queue  # behind the others: sites take turns
            self.at_work[site] += 1
            yield item

    def _ready_site(self) -> tuple[str | None, float]:
        """Return a site that may be asked now, or the seconds until one may be."""
        pause = math.inf
        for site in list(self.queues):
            wait = self._wait_of(site)
            if wait == 0:
                return site, 0.0
            pause = min(pause, wait)
        return None, pause

    def _wait_of(self, site: str) -> float:
        breaker = self.breakers.get(site)
        state = "closed" if breaker is None else breaker.state_at(datetime.now(UTC))
        if state == "open":
            del self.queues[site]
            return math.inf
        if state == "half_open" and self.at_work[site]:
            return _UNTIL_AN_OUTCOME_S  # one asks for all
        wait = self.limits.start(site)
        if wait is None:
            return 0.0
        if wait.daily is not None and wait.seconds > self.config.max_wait_s:
            del self.queues[site]
            if not self.queues:
                self.paused = (
                    f"{site}: {wait.daily} downloads within 24 hours (download.host_daily); the next may start in "
                    f"{wait.seconds / 3600:.1f} hours"
                )
        return wait.seconds

    def finished(self, item: Try, tried: Tried) -> Breaker | None:
        """Note what came of a try and return the site's breaker where that changed it.

        The row of a video that a site refused gets the time of the site's next try.
        """
        site, row = item.site, tried.row
        self.at_work[site] -= 1
        self.limits.finish(site)
        self.room.took(row.get("bytes") or 0)
        if row["error_class"] == "environment" and os.strerror(errno.ENOSPC) in (row["message"] or ""):
            self.paused = f"no room left ({row['message']}): free space, or choose another --root"
        before, now = self.breakers.get(site), datetime.now(UTC)
        state = "closed" if before is None else before.state_at(now)
        change = None
        if row["error_class"] in BLOCKING:
            if state != "open":
                change = opened(before, site, row["error_class"], row["message"], tried.retry_after_s, self.config, now)
                self.breakers[site] = change
            row["next_try_at"] = self.breakers[site].next_try_at
        elif state == "half_open" and row["error_class"] not in _NO_ANSWER:
            change = self.breakers[site] = closed(site, now)
        return change
