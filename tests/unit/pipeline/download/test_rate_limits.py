"""Rate limits: downloads of a site at a time, seconds between two, and downloads a day."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipeline.config import DownloadConfig
from pipeline.download.cluster_limits import LimitKeeper
from pipeline.download.rate_limits import SiteLimits
from pipeline.sources.politeness import limit_of


def limits(tmp_path: Path, source: str = "urls", **settings: Any) -> SiteLimits:
    return SiteLimits(tmp_path / "limits.sqlite", source, DownloadConfig(**settings))


def test_no_more_downloads_of_one_site_run_at_a_time_than_allowed_and_other_sites_do_not_wait(tmp_path: Path) -> None:
    with limits(tmp_path, host_workers=2, host_interval_s=0.0) as mine, limits(tmp_path, host_workers=2) as other:
        assert mine.start("a.invalid") is None
        assert other.start("a.invalid") is None
        assert mine.start("a.invalid") is not None  # another run of this machine holds the second place
        assert mine.start("b.invalid") is None
        other.finish("a.invalid")
        assert mine.start("a.invalid") is None


def test_a_process_that_died_gives_its_places_back(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from pipeline.config import DownloadConfig; "
        "from pipeline.download.rate_limits import SiteLimits; "
        "SiteLimits(Path(sys.argv[1]), 'urls', DownloadConfig(host_interval_s=0.0)).start('a.invalid'); os._exit(1)"
    )
    place = tmp_path / "limits.sqlite"
    root = str(Path(__file__).parents[4])
    for _ in range(2):
        subprocess.run([sys.executable, "-c", program, str(place)], env={**os.environ, "PYTHONPATH": root}, check=False)
    with limits(tmp_path, host_workers=2, host_interval_s=0.0) as mine:
        assert [mine.start("a.invalid") for _ in range(2)] == [None, None]
        assert mine.start("a.invalid") is not None


def test_the_next_start_waits_for_the_interval_and_the_day_has_an_end(tmp_path: Path) -> None:
    with limits(tmp_path, host_interval_s=100.0) as mine:
        assert mine.start("a.invalid") is None
        wait = mine.start("a.invalid")
        assert wait is not None
        assert 0 < wait.seconds <= 150
    with limits(tmp_path, host_interval_s=0.0, host_daily=2, host_workers=9) as mine:
        assert [mine.start("b.invalid") for _ in range(2)] == [None, None]
        wait = mine.start("b.invalid")
        assert wait is not None
        assert (wait.daily, 86000 < wait.seconds <= 86400) == (2, True)


def test_a_stranger_is_asked_politely_and_this_machine_is_not_slowed_down() -> None:
    config = DownloadConfig()
    assert limit_of("youtube", "youtube", config).interval_s >= 10
    assert limit_of("youtube", "youtube", config).daily == 5000
    assert limit_of("urls", "somewhere.example", config).interval_s == 1.0
    assert [limit_of("urls", host, config).interval_s for host in ("127.0.0.1", "localhost", "::1")] == [0.0] * 3
    assert limit_of("folder", "folder", config).is_none
    assert limit_of("urls", "localhost", DownloadConfig(host_interval_s=3.0)).interval_s == 3.0


def test_runs_on_a_cluster_share_the_slots_and_one_that_is_silent_loses_its_own(tmp_path: Path) -> None:
    now = 0.0
    keeper = LimitKeeper(str(tmp_path / "limits.sqlite"), lambda: now)
    config = DownloadConfig(host_workers=2, host_interval_s=0.0)
    assert [keeper.start(run, "urls", config, "a.invalid") for run in ("one", "other")] == [None, None]
    assert keeper.start("one", "urls", config, "a.invalid") is not None, "two at a time on the whole cluster"
    keeper.finish("other", "a.invalid")
    assert keeper.start("one", "urls", config, "a.invalid") is None
    assert keeper.start("other", "urls", config, "a.invalid") is not None
    now = 20.0
    keeper.renew("one")
    now = 40.0
    assert keeper.start("other", "urls", config, "a.invalid") is not None, "a run that renews keeps its slots"
    now = 80.0
    assert keeper.start("other", "urls", config, "a.invalid") is None, "a run that is gone gives its slots back"
    keeper.leave("other")
    assert [keeper.start("third", "urls", config, "a.invalid") for _ in range(2)] == [None, None]
