"""The circuit breaker of a site: one that asks for a check against bots, or for fewer requests, rests as a whole.

Such an answer says nothing of the video that got it: trying the others would only be refused as well, and make it
worse (addresses and sessions were seen blocked for hours). So nothing more is asked of the site until a time; then one
video asks, and its answer closes the breaker or opens it again for twice as long.

Changes are rows of `breakers`, so every run on every machine that shares the store keeps the rest.
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
from pipeline.storage.store import Store

_LONGEST_S = 86400.0


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """The last change of one site's breaker."""

    site: str
    """A host for `urls`, else the kind of the source."""
    state: Literal["open", "closed"]
    error_class: str | None = None
    """What the site refused with."""
    message: str | None = None
    refusals: int = 0
    """How often it refused in a row, each time after its rest."""
    changed_at: datetime
    next_try_at: datetime | None = None

    def state_at(self, now: datetime) -> Literal["open", "half_open", "closed"]:
        """Return `half_open` where the rest is over and no video has asked since."""
        if self.state == "closed":
            return "closed"
        return "open" if self.next_try_at is not None and now < self.next_try_at else "half_open"

    def row(self) -> dict[str, Any]:
        """Return this change as a row of `breakers`."""
        return {**vars(self), "event_id": str(uuid.uuid4())}


def breakers(store: Store) -> dict[str, Breaker]:
    """Return the last change of every site that ever refused."""
    rows = store.read("breakers").to_pylist()
    rows.sort(key=lambda row: (row["changed_at"], row["event_id"]))
    return {row["site"]: Breaker(**{name: row[name] for name in row if name != "event_id"}) for row in rows}


def resting(known: Mapping[str, Breaker], sites: Iterable[str], now: datetime) -> dict[str, datetime]:
    """Return the sites that rest, each with the time at which one video may ask again."""
    found = {}
    for site in sorted(set(sites)):
        breaker = known.get(site)
        if breaker is not None and breaker.state_at(now) == "open" and breaker.next_try_at is not None:
            found[site] = breaker.next_try_at
    return found


def opened(
    before: Breaker | None,
    site: str,
    error_class: str,
    message: str,
    retry_after_s: float | None,
    config: DownloadConfig,
    now: datetime | None = None,
) -> Breaker:
    """Return the breaker after a refusal.

    The first rest is the site's own Retry-After where it named one, and `download.breaker_s` otherwise; a site that
    refuses again right after its rest gets twice as long, or its Retry-After where that is longer.
    """
    assert error_class in BLOCKING, error_class
    moment = now or datetime.now(UTC)
    refusals = before.refusals + 1 if before is not None and before.state == "open" else 1
    pause = min(config.breaker_s * 2 ** min(refusals - 1, 20), _LONGEST_S) * random.uniform(1.0, 1.2)
    pause = pause_after_failure(pause, retry_after_s, first=refusals == 1)
    return Breaker(
        site=site,
        state="open",
        error_class=error_class,
        message=message,
        refusals=refusals,
        changed_at=moment,
        next_try_at=moment + timedelta(seconds=pause),
    )


def closed(site: str, now: datetime | None = None) -> Breaker:
    """Return the breaker of a site that answered."""
    return Breaker(site=site, state="closed", changed_at=now or datetime.now(UTC))
