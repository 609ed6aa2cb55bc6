"""A clock that is set back, by a day or by ten years: what was last stays last, and nothing is paused for ever."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assets.settings import Settings
from classifier.labels.import_file import import_labels
from classifier.labels.journal import Journal, check_event
from pipeline.config import DownloadConfig
from pipeline.download import disk_space
from pipeline.download.circuit_breaker import Refusal, breakers, closed, opened
from pipeline.download.disk_space import drop_cut_raw
from pipeline.download.due import due_rows
from pipeline.download.ledger import download_states, fold_all
from pipeline.download.rate_limits import SiteLimits
from pipeline.label_events import current_labels
from pipeline.search.batches import batches
from pipeline.storage.arrow import pc
from pipeline.storage.models_table import ModelRecord, append_model, newest_model
from pipeline.storage.store import Store

DAY, DECADE = timedelta(days=1), timedelta(days=3650)
NOW = datetime.now(UTC)
AHEAD = pytest.mark.parametrize("ahead", [DAY, DECADE], ids=["a day", "ten years"])


@AHEAD
def test_a_model_that_is_published_after_the_clock_was_set_back_is_the_newest(store: Store, ahead: timedelta) -> None:
    def publish(name: str, at: datetime) -> None:
        record = ModelRecord(model_id=name, kind="k", path="", config={}, metrics={}, inputs={}, created_at=at)
        append_model(store, record)

    publish("first", NOW + ahead)
    publish("second", datetime.now(UTC))
    publish("third", datetime.now(UTC))
    newest = newest_model(store, "k")
    assert newest is not None
    assert newest.model_id == "third"
    # a record of a date of its own keeps it
    publish("old", NOW - DECADE)
    assert newest_model(store, "k") == newest


@AHEAD
def test_a_site_that_answers_again_is_open_whatever_the_clock_says(store: Store, ahead: timedelta) -> None:
    refusal, config = Refusal("x", "rate_limited", "429"), DownloadConfig()
    first = opened(None, refusal, config, NOW + ahead)
    store.append("breakers", [first.row()])
    # the pause began under the other clock: a day later, or at once where it is longer than any pause
    assert breakers(store)["x"].state_at(NOW + timedelta(days=3)) == "half_open"
    store.append("breakers", [closed("x", NOW, before=first).row()])
    assert breakers(store)["x"].state_at(NOW) == "closed"
    second = opened(breakers(store)["x"], refusal, config, NOW)
    store.append("breakers", [second.row()])
    assert breakers(store)["x"].state_at(NOW) == "open"
    assert breakers(store)["x"].state_at(NOW + timedelta(hours=2)) == "half_open"


def test_a_video_that_waits_is_not_paused_for_longer_than_any_pause(root: Store, settings: Settings) -> None:
    [batch] = batches(root)
    video = root.read("videos", ["video_id"])["video_id"][0].as_py()
    others = root.read("downloads", where=pc.field("video_id") != video)
    [state] = root.read("downloads", where=pc.field("video_id") == video)["file_version"].unique().to_pylist()
    row = {"attempt_id": "a", "video_id": video, "batch": batch, "attempt": 1, "state": "pending"}
    row["file_version"] = state
    root.replace("downloads", others)
    ahead = {"finished_at": NOW + DECADE, "next_try_at": NOW + DECADE + timedelta(hours=1)}
    root.append("downloads", [row | ahead])
    due = due_rows(root, settings.config, fold_all(root), NOW)["video_id"].to_pylist()
    assert due == [video]
    assert download_states(root, batch)[video].is_due(NOW)
    # an honest pause stays one
    root.append("downloads", [row | {"attempt_id": "b", "attempt": 2, "finished_at": NOW, "next_try_at": NOW + DAY}])
    assert due_rows(root, settings.config, fold_all(root), NOW)["video_id"].to_pylist() == []
    # the last attempt is the one with the highest number, whatever the clock said
    root.append("downloads", [row | {"attempt_id": "c", "attempt": 3, "state": "failed", "finished_at": NOW - DAY}])
    assert download_states(root, batch)[video].state == "failed"


def test_a_raw_file_that_is_dropped_under_a_clock_set_back_is_known_as_dropped(root: Store, settings: Settings) -> None:
    [batch] = batches(root)
    rows = [{**row, "finished_at": NOW + DAY} for row in root.read("downloads").to_pylist()]
    root.replace("downloads", rows)
    download = dataclasses.replace(settings.config.download, keep_raw=False)
    assert drop_cut_raw(root, dataclasses.replace(settings.config, download=download), batch) > 0
    states = download_states(root, batch)
    assert all(state.dropped and state.path is None for state in states.values())
    assert root.list_blobs("raw") == []
    assert disk_space.raw_bytes(root) == 0


@AHEAD
def test_the_rating_that_was_given_last_counts(
    root: Store, settings: Settings, tmp_path: Path, ahead: timedelta
) -> None:
    clip = root.read("clips", ["clip_id"])["clip_id"][0].as_py()
    rows = [{**row, "labelled_at": NOW + ahead} for row in root.read("labels").to_pylist()]
    root.replace("labels", rows)

    for value in (3, 2):
        (tmp_path / f"{value}.csv").write_text(f"clip_id,rating\n{clip},{value}\n", "utf-8")
        import_labels(root, tmp_path / f"{value}.csv", "ann", settings.config)
        assert current_labels(root)[clip] == value
    with Journal(settings.home.journal, after=root.latest("labels", "labelled_at")) as journal:
        event = {"event_id": "0" * 8 + "-0000-4000-8000-" + "0" * 12, "clip_id": clip, "kind": "rate", "rating": 4}
        journal.append([check_event(event)], "ann")
        assert journal.events()[0]["labelled_at"] > max(row["labelled_at"] for row in root.read("labels").to_pylist())


@pytest.fixture
def limits(tmp_path: Path) -> Iterator[SiteLimits]:
    """A site that allows two downloads a day."""
    with SiteLimits(tmp_path / "limits.sqlite", "youtube", DownloadConfig(host_daily=2, host_interval_s=0.0)) as found:
        yield found


def test_downloads_that_were_counted_in_the_future_do_not_fill_the_day(
    limits: SiteLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [time.time() + DECADE.total_seconds()]
    monkeypatch.setattr("pipeline.download.rate_limits.time.time", lambda: clock[0])
    for _ in range(3):
        limits.start("youtube")
        limits.finish("youtube")
        clock[0] += 3600
    clock[0] -= DECADE.total_seconds() + DAY.total_seconds()
    assert limits.start("youtube") is None
