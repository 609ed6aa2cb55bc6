"""Writers that conflict lose nothing, and compaction keeps the rows."""

from __future__ import annotations

import multiprocessing
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from pipeline.storage.store import Store


def tombstone(number: int | str, reason: str = "asked") -> dict[str, Any]:
    return {"takedown_id": str(number), "kind": "video", "target": f"v{number}", "reason": reason}


def ids(store: Store) -> list[str]:
    return sorted(store.read("takedowns", columns=["takedown_id"])["takedown_id"].to_pylist())


@pytest.mark.parametrize("table", ["downloads", "scores"])
def test_a_table_of_many_small_commits_is_put_together_and_says_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch, table: str
):
    monkeypatch.setattr("pipeline.storage.upkeep.COMPACT_EVERY_COMMITS", 10)
    monkeypatch.setattr("pipeline.storage.upkeep.MAX_FILES", 5)
    key = "video_id" if table == "downloads" else "clip_id"
    left, young = (Path(store.url(f"tables/{table}/part-{name}.parquet")) for name in ("killed", "at-work"))
    for number in range(11):
        version = store.append(table, [{key: f"v{number:02d}", "batch": f"b{number % 2}"}], inputs={"of": number})
        if number == 8:
            # what a killed process wrote and never committed a month ago, and what another writes now
            for path in (left, young):
                path.write_bytes(b"rows")
            os.utime(left, (time.time() - 30 * 86400,) * 2)
    assert not left.exists()
    assert young.exists()
    assert left.with_name("_checksums").exists()
    # the last one was followed by one that only moved rows, and by two that say what was deleted
    assert version == store.version(table) == 13
    assert len(DeltaTable(store.url(f"tables/{table}")).file_uris()) == 1
    assert sorted(store.read(table)[key].to_pylist()) == [f"v{number:02d}" for number in range(11)]
    assert len(store.read(table, [key], pc.field("batch") == "b1")) == 5
    assert store.deleted_rows(table, commits=100) == 0
    assert store.inputs(table) == {"of": 10}


def _append(root: str, writer: int) -> None:
    for number in range(5):
        Store(root).append("takedowns", [tombstone(f"a{writer}-{number}")])


def _merge(root: str, writer: int) -> None:
    for number in range(3):
        Store(root).merge("takedowns", [tombstone(f"m{writer}-{number}"), tombstone("shared")], on=["takedown_id"])


@pytest.mark.heavy
def test_processes_that_append_and_merge_at_once_lose_nothing(store: Store):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append, args=(store.root, k)) for k in range(2)]
    writers += [context.Process(target=_merge, args=(store.root, k)) for k in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    expected = {f"a{k}-{n}" for k in range(2) for n in range(5)} | {f"m{k}-{n}" for k in range(2) for n in range(3)}
    assert ids(store) == sorted(expected | {"shared"})  # not even the row that both merge is there twice


NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def found(name: str, **facts: Any) -> dict[str, Any]:
    return {"video_id": name, "queries": ["q"], "found_at": NOW, **facts}


def _merge_young(root: str) -> None:
    for number in range(6):
        rows = [found(f"v{number}-{one}") for one in range(20)]
        Store(root).merge("videos", rows, on=["video_id"], since=("found_at", NOW - timedelta(days=2)))


@pytest.mark.heavy
def test_searches_that_merge_the_same_young_rows_at_once_add_each_once(store: Store):
    store.append("videos", [found("old", found_at=NOW - timedelta(days=99))])
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_merge_young, args=(store.root,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    names = store.read("videos", ["video_id"])["video_id"].to_pylist()
    assert sorted(names) == sorted(["old", *(f"v{number}-{one}" for number in range(6) for one in range(20))])
