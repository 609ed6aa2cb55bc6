"""How often a site may be asked, and how long to wait after it refused."""

from __future__ import annotations

import ipaddress
import random
from dataclasses import dataclass

from pipeline.config import DownloadConfig

_SEARCH_PAUSE_S = 0.75


@dataclass(frozen=True)
class Limit:
    """The rate limits of one site."""

    workers: int | None
    """Downloads at a time; None: no limit."""
    interval_s: float
    """Least seconds from one start to the next, lengthened by up to a half at random."""
    daily: int | None
    """Starts within 24 hours; None: no limit."""

    @property
    def is_none(self) -> bool:
        """Whether nothing is limited."""
        return self.workers is None and not self.interval_s and self.daily is None


def limit_of(source: str, site: str, config: DownloadConfig) -> Limit:
    """Return the limits of a site; a folder and the embedded source have none."""
    if source in {"folder", "arcade"}:
        return Limit(None, 0.0, None)
    youtube = source == "youtube"
    here = _is_here(site)
    interval = config.host_interval_s
    if interval is None:
        interval = 10.0 if youtube else 0.0 if here else 1.0
    daily = config.host_daily
    if daily is None and youtube:
        daily = 5000
    return Limit(config.host_workers, interval, daily)


def search_pause_s(source: str, site: str, config: DownloadConfig) -> float:
    """Return the seconds between two requests of a search: 0.75 as in yt-dlp's polite preset, or less."""
    return min(_SEARCH_PAUSE_S, limit_of(source, site, config).interval_s)


def pause_after_failure(own_s: float, retry_after_s: float | None, *, first: bool) -> float:
    """Return the seconds to wait before the next request, after one that failed.

    A site's Retry-After decides after a first failure, and later where it asks for longer than our own pause. It is
    stretched by up to a tenth at random, so that clients which were refused together do not return together.

    Args:
        own_s: our own pause, with its backoff and jitter.
        retry_after_s: what the site's Retry-After header asks for; None where it sent none.
        first: whether this is the first failure in a row.
    """
    if retry_after_s is None:
        return own_s
    asked = retry_after_s * random.uniform(1.0, 1.1)
    return asked if first else max(asked, own_s)


def _is_here(site: str) -> bool:
    if site == "localhost":
        return True
    try:
        return ipaddress.ip_address(site).is_loopback
    except ValueError:
        return False
