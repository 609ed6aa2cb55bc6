"""The circuit breaker of a site: a site that asks for a bot check, or for fewer requests, is paused as a whole.

Such an answer says nothing about the video that got it. Requests for the other videos would be refused too, and could
make it worse (addresses and sessions were seen blocked for hours). So the site is asked for nothing until the pause is
over. Then one video asks, and the answer closes the breaker or opens it again for twice as long.

Changes are rows of `breakers`, so every run on every machine that shares the store keeps to the pause.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pipeline.config import DownloadConfig
from pipeline.sources.faults import BLOCKING
from pipeline.sources.politeness import pause_after_failure
from pipeline.storage.moments import is_over, moment_after
from pipeline.storage.store import Store

_LONGEST_S = 86400.0


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """The last change of one site's breaker."""

    site: str
    """A host for `urls`, else the kind of the source."""
    state: Literal["open", "closed"]
    error_class: str | None = None
    """Class of the site's refusal."""
    message: str | None = None
    refusals: int = 0
    """Refusals in a row, each of them after a pause."""
    changed_at: datetime
    next_try_at: datetime | None = None

    def state_at(self, now: datetime) -> Literal["open", "half_open", "closed"]:
        """Return the state; `half_open` where the pause is over and no video has asked since."""
        if self.state == "closed":
            return "closed"
        return "half_open" if is_over(self.next_try_at, now) else "open"

    def row(self) -> dict[str, Any]:
        """Return this change as a row of `breakers`."""
        return {**vars(self), "event_id": str(uuid.uuid4())}


def breakers(store: Store) -> dict[str, Breaker]:
    """Return the last change of every site that ever refused, by site."""
    rows = store.read("breakers").to_pylist()
    rows.sort(key=lambda row: (row["changed_at"], row["event_id"]))
    return {row["site"]: Breaker(**{name: row[name] for name in row if name != "event_id"}) for row in rows}


def paused_until(known: Mapping[str, Breaker], sites: Iterable[str], now: datetime) -> dict[str, datetime]:
    """Return the sites that are paused, each with the time at which one video may ask again."""
    found = {}
    for site in sorted(set(sites)):
        breaker = known.get(site)
        if breaker is not None and breaker.state_at(now) == "open" and breaker.next_try_at is not None:
            found[site] = breaker.next_try_at
    return found


@dataclass(frozen=True)
class Refusal:
    """An answer by which a site refuses all requests."""

    site: str
    error_class: str
    """One of `pipeline.sources.faults.BLOCKING`."""
    message: str
    retry_after_s: float | None = None
    """The pause that the site asked for; None where it named none."""


def opened(before: Breaker | None, refusal: Refusal, config: DownloadConfig, now: datetime | None = None) -> Breaker:
    """Return the breaker after a refusal.

    The first pause is the site's own Retry-After where it named one, and `download.breaker_s` otherwise. A site that
    refuses again right after its pause is paused for twice as long, or for its Retry-After where that is longer.
    """
    assert refusal.error_class in BLOCKING, refusal.error_class
    moment = now or datetime.now(UTC)
    changed_at = moment_after(before.changed_at if before is not None else None, moment)
    refusals = before.refusals + 1 if before is not None and before.state == "open" else 1
    pause = min(config.breaker_s * 2 ** min(refusals - 1, 20), _LONGEST_S) * random.uniform(1.0, 1.2)
    pause = pause_after_failure(pause, refusal.retry_after_s, first=refusals == 1)
    return Breaker(
        site=refusal.site,
        state="open",
        error_class=refusal.error_class,
        message=refusal.message,
        refusals=refusals,
        changed_at=changed_at,
        next_try_at=moment + timedelta(seconds=pause),
    )


def closed(site: str, now: datetime | None = None, *, before: Breaker | None = None) -> Breaker:
    """Return the breaker of a site that answered; its change comes after the one `before`."""
    latest = before.changed_at if before is not None else None
    return Breaker(site=site, state="closed", changed_at=moment_after(latest, now))
