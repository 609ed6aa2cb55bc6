"""How often a source may be asked."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from pipeline.config import DownloadConfig

_SEARCH_PAUSE_S = 0.75


@dataclass(frozen=True)
class Limit:
    """What one site may be asked."""

    workers: int | None
    """Downloads at a time; None: no limit."""
    interval_s: float
    """Least seconds from one start to the next, stretched by up to a half at random."""
    daily: int | None
    """Starts within 24 hours; None: no limit."""

    @property
    def is_none(self) -> bool:
        """Whether nothing is limited."""
        return self.workers is None and not self.interval_s and self.daily is None


def limit_of(source: str, site: str, config: DownloadConfig) -> Limit:
    """Return the limits of a site; files of this machine have none."""
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
    """Return the seconds between two requests of a search: those of yt-dlp's polite preset, or less if a download's."""
    return min(_SEARCH_PAUSE_S, limit_of(source, site, config).interval_s)


def _is_here(site: str) -> bool:
    if site == "localhost":
        return True
    try:
        return ipaddress.ip_address(site).is_loopback
    except ValueError:
        return False
