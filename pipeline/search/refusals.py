"""Sites that refuse a search: those that the circuit breaker pauses, and those that this search opens it for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pipeline.config import Config
from pipeline.download.circuit_breaker import Breaker, Refusal, opened, paused_until
from pipeline.errors import RetryableError
from pipeline.sources.base import HOSTED, Source
from pipeline.sources.faults import clean_message


def paused_sites(known: Mapping[str, Breaker], kind: str, now: datetime) -> dict[str, RetryableError]:
    """Return the sites that are paused by the circuit breaker, each with the error that a search of it reports."""
    mine = known if kind in HOSTED else {kind}
    return {
        site: RetryableError(
            f"{site} refused ({known[site].message}) and is paused by the circuit breaker until "
            f"{until:%Y-%m-%d %H:%M} UTC",
            error_class=str(known[site].error_class),
        )
        for site, until in paused_until(known, mine, now).items()
    }


def breaker_changes(
    before: Mapping[str, Breaker], source: Source, config: Config, now: datetime
) -> list[dict[str, Any]]:
    """Return rows of `breakers` for the sites that refused this search, where the breaker was not open already."""
    met = {site if source.kind in HOSTED else source.kind: error for site, error in source.refused.items()}
    return [
        opened(
            before.get(site),
            Refusal(site, error.error_class, clean_message(str(error)), error.retry_after_s),
            config.download,
            now,
        ).row()
        for site, error in met.items()
        if site not in before or before[site].state_at(now) != "open"
    ]
