"""Collecting under Dagster: what a batch shows, what ends red and what only warns, two runs at once, and the end of one.

The videos come from loopback sites behind a real proxy, through the real search and the real download.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import psutil
import pytest
import yaml

from assets.driver import PassError, full_pass
from assets.instance import open_instance
from assets.settings import Settings, load_settings
from pipeline.breaker import breakers
from pipeline.decode import decode_clip
from pipeline.download import download_states
from pipeline.search import batches
from pipeline.status import status
from tests.faultsite import FaultSite, YouTube

pytestmark = [
    pytest.mark.timeout(200),
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning"),
]
BOT_CHECK = {"status": "LOGIN_REQUIRED", "reason": "Sign in to confirm you\u2019re not a bot"}
FOX = {"queries": ["fox"], "query_subjects": [], "query_actions": []}
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> bytes:
    """A real video of 4 s with something moving in it."""
    frames = np.full((40, 96, 160, 3), 60, np.uint8)
    for index in range(40):
        frames[index, 30:60, 3 * index : 3 * index + 30] = (220, 40, 90)
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", frames, fps=10).read_bytes()


@pytest.fixture
def site() -> Iterator[FaultSite]:
    internet = FaultSite()
    yield internet
    internet.close()


@pytest.fixture
def youtube(tmp_path: Path, film: bytes) -> Iterator[YouTube]:
    internet = YouTube(tmp_path, film)
    yield internet
    internet.close()


@pytest.fixture
def settings_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Make the settings of a root: a source behind a proxy, and download settings."""
    for name in [name for name in os.environ if name.startswith(("LAMPWORKS_", "DAGSTER_HOME"))]:
        monkeypatch.delenv(name)

    def make(spec: str, proxy: str, *, source: Mapping[str, Any] | None = None, **download: Any) -> Settings:
        file = tmp_path / "config.yaml"
        known = {"spec": spec, "proxy": proxy, "check_certificates": False, **(source or {})}
        polite = {"host_interval_s": 0.0, "min_free_gb": 0.0, "max_wait_s": 0.0, "socket_timeout_s": 10.0, **download}
        rules = {"min_duration_s": 0.0}
        settings = {"preset": "demo", "source": known, "rules": rules, "download": polite, "engine": {"workers": 1}}
        file.write_text(yaml.safe_dump(settings), "utf-8")
        return load_settings(str(tmp_path / "root"), config=file)

    return make


def run_pass(settings: Settings, *select: str) -> tuple[Any, list[str]]:
    said: list[str] = []
    return full_pass(settings, [*(select or ("+clips",))], listen=said.append, report=False), said


def last_of(settings: Settings, asset: str = "raw_videos") -> tuple[dict[str, Any], dict[str, dg.AssetCheckEvaluation]]:
    """Return the metadata of an asset's last materialization, and its last checks by name."""
    with open_instance(settings.home) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(asset))
        assert event is not None
        assert event.asset_materialization is not None
        (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[event.run_id]))
        entries = instance.all_logs(record.dagster_run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        checks = [entry.dagster_event.asset_check_evaluation_data for entry in entries if entry.dagster_event]
    found = {one.check_name: one for one in checks if one.asset_key == dg.AssetKey(asset)}
    metadata = event.asset_materialization.metadata
    return {name: getattr(value, "value", None) for name, value in metadata.items()} | {"": metadata}, found


def rows_of(table: Any) -> list[dict[str, Any]]:
    return [dict(record.data) for record in table.records]


# -- what a batch shows -------------------------------------------------------------------------------------------


def test_a_site_that_asks_for_a_check_ends_the_run_green_with_a_warning_and_goes_on_after_its_rest(
    youtube: YouTube, settings_of: Callable[..., Settings]
) -> None:
    settings = settings_of("youtube", youtube.proxy_url, source=FOX, breaker_s=5.0, workers=1)
    run_pass(settings, "search_results")
    youtube.playability = BOT_CHECK
    first, said = run_pass(settings, "raw_videos", "clips")
    assert [title.split(",")[0] for title in first.runs] == ["raw_videos and clips"]
    (warning,) = [text for text in first.warnings if "site_open" in text]
    assert "youtube rests until" in warning
    assert "not a bot" in warning
    metadata, checks = last_of(settings)
    assert (metadata["ok"], metadata["failed"], metadata["pending"]) == (0, 0, 2)
    assert {name for name, check in checks.items() if not check.passed} == {"site_open"}
    assert checks["site_open"].severity == dg.AssetCheckSeverity.WARN
    (row,) = rows_of(metadata["sites"])
    assert (row["site"], row["state"], row["refusals"], row["class"]) == ("youtube", "open", 1, "source_blocked")
    assert metadata["next try"] is not None
    # while it rests there is nothing to do
    assert run_pass(settings, "raw_videos", "clips")[0].runs == []
    youtube.playability = {"status": "OK"}
    until = breakers(settings.store)["youtube"].next_try_at
    assert until is not None
    time.sleep(max((until - datetime.now(UTC)).total_seconds(), 0) + 0.1)
    assert run_pass(settings, "raw_videos", "clips")[0].warnings == []
    metadata, checks = last_of(settings)
    assert (metadata["ok"], metadata["pending"]) == (2, 0)
    assert all(check.passed for check in checks.values())
    assert rows_of(metadata["sites"])[0]["state"] == "closed"
    assert status(settings.store, settings.config)["conserved"]


def test_a_batch_shows_what_became_of_its_videos_and_what_was_saved(
    youtube: YouTube, settings_of: Callable[..., Settings]
) -> None:
    gone = {"status": "ERROR", "reason": "This video is private"}
    settings = settings_of("youtube", youtube.proxy_url, source=FOX, max_failed_share=0.5)
    run_pass(settings, "search_results")
    youtube.playability = lambda name: gone if name == "aaaaaaaaaa3" else {"status": "OK"}
    run_pass(settings, "raw_videos", "clips")
    metadata, checks = last_of(settings)
    states = download_states(settings.store)
    assert Counter(state.state for state in states.values()) == {"ok": 1, "failed": 1}
    assert {name: metadata[name] for name in ("videos", "ok", "failed", "rejected", "pending", "taken down")} == {
        "videos": 2, "ok": 1, "failed": 1, "rejected": 0, "pending": 0, "taken down": 0
    }  # fmt: skip
    assert metadata["tried"] >= 1
    assert metadata["videos per second"] > 0
    size = len(youtube.media)
    assert metadata["megabytes"] == pytest.approx(size / 1e6, abs=0.01)
    assert metadata["times smaller than 360p"] >= 4
    assert metadata["times smaller than 720p"] >= 9
    (error,) = rows_of(metadata["top errors"])
    assert error["videos"] == 1
    assert "private" in error["message"]
    assert [row["video"] for row in rows_of(metadata["failures"])] == ["youtube-aaaaaaaaaa3"]
    assert "formats" in metadata
    sheet = Path(str(metadata["contact sheet"]))
    assert sheet.is_file()
    assert json.loads(sheet.with_suffix(".json").read_text("utf-8"))["shown"] == ["youtube-aaaaaaaaaa1"]
    assert checks["conservation"].passed
    assert "2 videos = 1 ok + 1 failed" in str(checks["conservation"].description)
    # pictures and texts of one event stay small: they are kept in Dagster's database
    assert sum(len(str(value)) for value in metadata.values()) < 20_000
