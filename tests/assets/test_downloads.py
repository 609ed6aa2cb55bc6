"""The checks of `raw_videos`: the law of a batch, its files, and the sites that rest."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest

from assets.graph.context import Work
from assets.graph.raw_videos import downloaded
from assets.settings import Settings, load_settings
from pipeline.clip_spec import clip_spec
from pipeline.config import EngineConfig
from pipeline.download.batch import download_batch
from pipeline.download.circuit_breaker import Refusal, opened
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown

pytestmark = pytest.mark.usefixtures("inline")
BATCH = "2026w47-0001"
NOW = datetime.now(UTC)
STATES = ("ok", "failed", "rejected", "pending", "dropped")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A batch with a video in every state, and one that was taken down; nothing of it is due."""
    found = load_settings(str(tmp_path / "root"), source="urls:/nowhere/list.txt")
    put(found.store, clip_spec(found.config.clips))
    return replace(found, config=replace(found.config, engine=EngineConfig(workers=1)))


def put(store: Store, spec: str) -> None:
    common = {"source": "urls", "verdict": "kept", "batch": BATCH}
    names = [*STATES, "hidden"]
    store.append("videos", [{"video_id": name, "url": f"https://{name}.test/v.mp4", **common} for name in names])
    errors = {"failed": "permanent", "rejected": "opt_out", "pending": "transient"}
    rows = [
        {
            "attempt_id": f"a-{name}", "video_id": name, "batch": BATCH, "attempt": 1, "finished_at": NOW,
            "state": "ok" if name == "dropped" else name, "error_class": errors.get(name), "message": f"said {name}",
            "next_try_at": NOW + timedelta(hours=2) if name == "pending" else None,
            **({"path": f"raw/{BATCH}/{name}.mp4", "sha256": name, "bytes": 7} if name in {"ok", "dropped"} else {}),
        }
        for name in STATES
    ]  # fmt: skip
    store.append("downloads", rows)
    gone = {"attempt_id": "b", "video_id": "dropped", "batch": BATCH, "state": "dropped", "sha256": "dropped"}
    store.append("downloads", [{**gone, "attempt": 1, "finished_at": NOW + timedelta(seconds=1)}])
    cut = {"batch": BATCH, "video_id": "dropped", "source_sha256": "dropped", "state": "ok", "clip_spec": spec}
    store.append("clippings", [cut])
    request_takedown(store, "video", "hidden", "asked by its owner")
    store.write_blob(f"raw/{BATCH}/ok.mp4", b"no film")


def shown(settings: Settings) -> tuple[dict[str, Any], dict[str, dg.AssetCheckResult]]:
    # nothing is due before the pending one's time, so nothing is asked for
    report = download_batch(settings.job().of_batch(BATCH))
    result = downloaded(Work(cast(Any, None), settings.job()), report)
    values = {name: getattr(value, "value", value) for name, value in (result.metadata or {}).items()}
    return values, {str(check.check_name): check for check in result.check_results or []}


def test_every_state_is_counted_and_the_law_holds(settings: Settings) -> None:
    metadata, checks = shown(settings)
    counted = {name: metadata[name] for name in ("videos", "ok", "failed", "rejected", "pending", "taken down")}
    assert counted == {"videos": 6, "ok": 2, "failed": 1, "rejected": 1, "pending": 1, "taken down": 1}
    assert checks["conservation"].passed
    said = "6 videos = 2 ok + 1 failed + 1 rejected + 1 pending + 1 taken down"
    assert checks["conservation"].description == said
    assert metadata["next try"] == pytest.approx((NOW + timedelta(hours=2)).timestamp(), abs=1)
    assert metadata["tried"] == 0


def test_a_file_that_is_not_there_breaks_the_law(settings: Settings) -> None:
    settings.store.delete(f"raw/{BATCH}/ok.mp4")
    _, checks = shown(settings)
    assert not checks["conservation"].passed
    assert checks["conservation"].severity == dg.AssetCheckSeverity.ERROR
    assert "1 files are not there" in str(checks["conservation"].description)
    assert checks["conservation"].metadata["first"].value == "ok"


def test_an_attempt_at_a_video_that_the_batch_does_not_have_breaks_the_law(settings: Settings) -> None:
    row = {"attempt_id": "x", "video_id": "stranger", "batch": BATCH, "attempt": 1, "state": "failed"}
    settings.store.append("downloads", [{**row, "finished_at": NOW}])
    _, checks = shown(settings)
    assert not checks["conservation"].passed
    assert checks["conservation"].metadata["first"].value == "stranger"


def test_sites_are_shown_and_one_that_rests_is_named_with_reason_and_time(settings: Settings) -> None:
    metadata, checks = shown(settings)
    assert checks["site_open"].passed
    rest = opened(None, Refusal("pending.test", "rate_limited", "HTTP 429", 3600), settings.config.download, NOW)
    other = opened(None, Refusal("elsewhere.test", "rate_limited", "HTTP 429", 3600), settings.config.download, NOW)
    settings.store.append("breakers", [rest.row(), other.row()])
    metadata, checks = shown(settings)
    assert not checks["site_open"].passed
    assert checks["site_open"].severity == dg.AssetCheckSeverity.WARN
    text = str(checks["site_open"].description)
    assert "pending.test is paused until" in text
    assert "rate_limited: HTTP 429" in text
    assert f"{rest.next_try_at:%Y-%m-%d %H:%M}" in text
    assert "elsewhere" not in text, "no video of this batch comes from there"
    rows = [dict(record.data) for record in metadata["sites"].records]
    assert rows[0]["site"] == "pending.test"
    assert [row["state"] for row in rows] == ["open", *["closed"] * 5]


def test_errors_and_failures_are_tables(settings: Settings) -> None:
    metadata, _ = shown(settings)
    errors = {row.data["class"]: row.data for row in metadata["top errors"].records}
    assert errors["permanent"]["message"] == "said failed"
    assert {row.data["video"] for row in metadata["failures"].records} == {"failed", "rejected"}
