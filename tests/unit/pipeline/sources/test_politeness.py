"""Politeness: how often a site may be asked, and how long it is left alone after it refused."""

from __future__ import annotations

import pytest

from pipeline.config import DownloadConfig
from pipeline.sources.politeness import limit_of, pause_after_failure, search_pause_s


def test_our_own_pause_stands_where_the_site_asks_for_none() -> None:
    assert pause_after_failure(30.0, None, first=True) == 30.0
    assert pause_after_failure(30.0, None, first=False) == 30.0


@pytest.mark.parametrize(("asked", "first", "low", "high"), [
    (10.0, True, 10.0, 11.0), (300.0, True, 300.0, 330.0), (10.0, False, 30.0, 30.0), (300.0, False, 300.0, 330.0),
])  # fmt: skip
def test_retry_after_wins_at_the_first_failure_and_later_where_it_is_longer(
    asked: float, first: bool, low: float, high: float
) -> None:
    pauses = [pause_after_failure(30.0, asked, first=first) for _ in range(50)]
    assert low <= min(pauses) <= max(pauses) <= high
    # clients that were refused together do not return together
    assert (len(set(pauses)) > 1) == (high > low)


@pytest.mark.parametrize(
    ("source", "site", "interval_s", "daily"),
    [
        ("youtube", "youtube", 10.0, 5000),
        ("urls", "example.org", 1.0, None),
        ("urls", "127.0.0.1", 0.0, None),
        ("urls", "localhost", 0.0, None),
        ("folder", "folder", 0.0, None),
    ],
)
def test_a_site_is_limited_by_what_it_is(source: str, site: str, interval_s: float, daily: int | None) -> None:
    limit = limit_of(source, site, DownloadConfig())
    assert (limit.interval_s, limit.daily) == (interval_s, daily)
    assert limit.is_none == (source == "folder")


def test_settings_win_over_the_limits_of_the_site() -> None:
    config = DownloadConfig(host_interval_s=0.0, host_daily=7, host_workers=3)
    limit = limit_of("youtube", "youtube", config)
    assert (limit.workers, limit.interval_s, limit.daily) == (3, 0.0, 7)
    assert search_pause_s("youtube", "youtube", config) == 0.0
    assert 0 < search_pause_s("youtube", "youtube", DownloadConfig()) < 1
