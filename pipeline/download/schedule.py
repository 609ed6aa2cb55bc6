"""Which video is attempted next: sites take turns, within their rate limits, and a site that refuses is paused."""

from __future__ import annotations

import errno
import math
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from pipeline.config import DownloadConfig
from pipeline.download.attempt import AttemptResult, DownloadTask
from pipeline.download.circuit_breaker import Breaker, Refusal, closed, opened
from pipeline.download.cluster_limits import ClusterLimits
from pipeline.download.disk_space import DiskBudget
from pipeline.download.rate_limits import SiteLimits
from pipeline.sources.faults import BLOCKING
from pipeline.workers.outcome import ENDED, Later

_UNTIL_AN_OUTCOME_S = 3600.0
# error classes that do not show whether the site would answer: its circuit breaker stays as it is
_NO_ANSWER = frozenset({"transient", "environment", *ENDED})


class Feed:
    """The tasks of one pass, given out one at a time; a task that is never given out stays pending."""

    def __init__(
        self,
        tasks: Iterable[DownloadTask],
        config: DownloadConfig,
        breakers: dict[str, Breaker],
        limits: SiteLimits | ClusterLimits,
        budget: DiskBudget,
    ) -> None:
        self.config, self.breakers, self.limits, self.budget = config, breakers, limits, budget
        self.queues: dict[str, deque[DownloadTask]] = {}
        for task in tasks:
            self.queues.setdefault(task.site, deque()).append(task)
        self.running: Counter[str] = Counter()
        """Attempts that go on, by site."""
        self.paused = ""
        """Why nothing more is given out although tasks are left; "" while that is not so."""

    def __iter__(self) -> Iterator[DownloadTask | Later]:
        while self.queues and not self.paused:
            self.paused = self.budget.shortage()
            if self.paused:
                return
            site, pause = self._ready_site()
            if site is None:
                if self.queues:
                    yield Later(pause)
                continue
            queue = self.queues.pop(site)
            task = queue.popleft()
            if queue:
                self.queues[site] = queue  # behind the others: sites take turns
            self.running[site] += 1
            yield task

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
        if state == "half_open" and self.running[site]:
            return _UNTIL_AN_OUTCOME_S  # one video asks for all of its site
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

    def finished(self, task: DownloadTask, result: AttemptResult) -> Breaker | None:
        """Record the result of an attempt; return the site's circuit breaker where the result changed it.

        Where the site refused, the attempt's row gets the time at which the site may be asked again.
        """
        site, row = task.site, result.row
        self.running[site] -= 1
        self.limits.finish(site)
        self.budget.record_bytes(row.get("bytes") or 0)
        if row["error_class"] == "environment" and os.strerror(errno.ENOSPC) in (row["message"] or ""):
            self.paused = f"no room left ({row['message']}): free space, or choose another --root"
        before, now = self.breakers.get(site), datetime.now(UTC)
        state = "closed" if before is None else before.state_at(now)
        change = None
        if row["error_class"] in BLOCKING:
            if state != "open":
                refusal = Refusal(site, row["error_class"], row["message"], result.retry_after_s)
                change = self.breakers[site] = opened(before, refusal, self.config, now)
            row["next_try_at"] = self.breakers[site].next_try_at
        elif state == "half_open" and row["error_class"] not in _NO_ANSWER:
            change = self.breakers[site] = closed(site, now, before=before)
        return change
