"""Times of rows under a clock that may be set back.

A new row is dated after the last one, and no pause outlasts its bound.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

LONGEST_PAUSE = timedelta(days=9)
"""No pause of a video or a site is longer: a time further ahead was written under a clock that was set back since."""
_STEP = timedelta(microseconds=1)


def moment_after(latest: datetime | None, now: datetime | None = None) -> datetime:
    """Return the present time, or the moment after the latest row where the clock was set back behind it."""
    moment = now or datetime.now(UTC)
    return moment if latest is None or latest < moment else latest + _STEP


def is_over(until: datetime | None, now: datetime) -> bool:
    """Tell whether a pause is over; one that ends later than any pause can is."""
    return until is None or until <= now or until > now + LONGEST_PAUSE
