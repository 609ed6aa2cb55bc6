"""What is due for download: batches with a pending video whose time has come, and dropped files that are needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.clip_spec import clip_spec
from pipeline.config import Config, SourceConfig
from pipeline.download.circuit_breaker import Breaker
from pipeline.download.due import due_batches
from pipeline.storage.store import Store

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
CONFIG = Config(source=SourceConfig(spec="youtube"))


def video(name: str, batch: str = "b", **facts: Any) -> dict[str, Any]:
    return {
        "video_id": name,
        "batch": batch,
        "source": "youtube",
        "verdict": "kept",
        "url": f"https://x.invalid/{name}",
    } | facts


def attempt(name: str, state: str, minute: int, **facts: Any) -> dict[str, Any]:
    row = {"attempt_id": f"{name}{minute}", "video_id": name, "batch": "b", "attempt": 1, "state": state}
    return row | {"finished_at": NOW + timedelta(minutes=minute)} | facts


def fill(store: Store) -> None:
    store.append("videos", [video("new"), video("waits"), video("done", "c"), video("other", "d", source="urls")])
    store.append("videos", [video("no", "e", verdict="rejected")])
    store.append(
        "downloads",
        [
            attempt("waits", "pending", 1, error_class="transient", next_try_at=LATER),
            attempt("done", "ok", 1, path="raw/c/done", sha256="s", batch="c"),
        ],
    )


def test_a_batch_is_due_while_one_of_its_videos_is_and_its_site_does_not_rest(store: Store) -> None:
    fill(store)
    assert due_batches(store, CONFIG, NOW) == ["b"]
    store.append("downloads", [attempt("new", "failed", 2, error_class="permanent")])
    assert due_batches(store, CONFIG, NOW) == []
    assert due_batches(store, CONFIG, LATER) == ["b"]
    rest = Breaker(site="youtube", state="open", refusals=1, changed_at=NOW, next_try_at=LATER + timedelta(hours=1))
    store.append("breakers", [rest.row()])
    assert due_batches(store, CONFIG, LATER) == []
    assert due_batches(store, CONFIG, LATER + timedelta(hours=2)) == ["b"]


def test_of_a_list_only_the_hosts_that_rest_are_left_out(store: Store) -> None:
    config = Config(source=SourceConfig(spec="urls:/list.txt"))
    store.append(
        "videos",
        [
            video("a", "b", source="urls", url="https://one.invalid/a.mp4"),
            video("z", "c", source="urls", url="https://two.invalid/z.mp4"),
        ],
    )
    rest = Breaker(site="one.invalid", state="open", refusals=1, changed_at=NOW, next_try_at=LATER)
    store.append("breakers", [rest.row()])
    assert due_batches(store, config, NOW) == ["c"]
    assert due_batches(store, config, LATER) == ["b", "c"]


def test_a_dropped_file_is_due_again_when_clips_of_another_format_are_wanted(store: Store) -> None:
    store.append("videos", [video("v")])
    store.append(
        "downloads", [attempt("v", "ok", 1, path="raw/v", sha256="s"), attempt("v", "dropped", 2, path="raw/v")]
    )
    cut = {"video_id": "v", "batch": "b", "clip_spec": clip_spec(CONFIG.clips), "source_sha256": "s", "state": "ok"}
    store.append("clippings", [cut | {"clip_spec": "0" * 8}])
    assert due_batches(store, CONFIG, NOW) == ["b"]
    store.append("clippings", [cut])
    assert due_batches(store, CONFIG, NOW) == []


def test_a_store_without_rows_has_nothing_due(store: Store) -> None:
    assert due_batches(store, CONFIG, NOW) == []
