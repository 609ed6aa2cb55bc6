"""The checks see what is wrong: a leak between the splits, a clip without a decision, a tar that is another."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from assets.graph import dataset
from assets.graph.checks import verdict
from assets.graph.records import same_ids
from pipeline.config import Config
from pipeline.storage.store import Store


@pytest.fixture
def work(tmp_path: Path) -> Any:
    """A store of two channels with a kept clip each, the second one's a copy of the first one's."""
    store = Store(tmp_path / "root")
    store.append("videos", [
        {"video_id": "a-1", "extractor": "a", "channel_id": "x"},
        {"video_id": "a-2", "extractor": "a", "channel_id": "y"},
        {"video_id": "a-3", "extractor": "a", "channel_id": "x"},
    ])  # fmt: skip
    return SimpleNamespace(store=store, config=Config())


def kept(*rows: tuple[str, str, str]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(("clip_id", "video_id", "split"), row, strict=True)) for row in rows])


def duplicates(store: Store, *rows: tuple[str, str]) -> None:
    store.append("duplicates", [{"clip_id": clip, "representative": head} for clip, head in rows])


def test_two_sources_in_two_splits_leak_nothing(work: Any) -> None:
    duplicates(work.store, ("c1", "c1"), ("c2", "c2"))
    assert dataset._leak(work, kept(("c1", "a-1", "train"), ("c2", "a-2", "val"))).passed


def test_a_channel_in_both_splits_is_a_leak_that_blocks(work: Any) -> None:
    duplicates(work.store, ("c1", "c1"), ("c3", "c3"))
    found = dataset._leak(work, kept(("c1", "a-1", "train"), ("c3", "a-3", "val")))
    assert not found.passed
    assert found.metadata["first"].value == "a:channel:x"
    assert found.severity.value == "ERROR"


def test_copies_in_both_splits_are_a_leak(work: Any) -> None:
    duplicates(work.store, ("c1", "c1"), ("c2", "c1"))
    found = dataset._leak(work, kept(("c1", "a-1", "train"), ("c2", "a-2", "val")))
    assert not found.passed
    assert found.metadata["first"].value == "c1"


def test_a_tar_that_is_not_the_one_of_its_row_is_seen(work: Any) -> None:
    work.store.write_blob("shards/v/train/a.tar", b"tar")
    row = {"path": "shards/v/train/a.tar", "sha256": hashlib.sha256(b"tar").hexdigest()}
    assert dataset._checksums(work, [row], {"train": 1}, {"train": 1}).passed
    assert not dataset._checksums(work, [row], {"train": 1}, {"train": 2}).passed
    assert not dataset._checksums(work, [{**row, "sha256": "0"}], {"train": 1}, {"train": 1}).passed


def test_ids_are_the_same_only_if_each_is_there_once() -> None:
    ids = pa.array(["a", "b"])
    assert same_ids(pa.array(["b", "a"]), ids)
    assert same_ids(pa.array([], pa.string()), pa.array([], pa.string()))
    assert not same_ids(pa.array(["a", "a"]), ids)
    assert not same_ids(pa.array(["a", "c"]), ids)
    assert not same_ids(pa.array(["a", "b", "b"]), ids)


def test_only_blocking_checks_fail_as_errors() -> None:
    assert verdict("clips", "conservation", False).severity.value == "ERROR"
    assert verdict("curated_clips", "keep_rate", False).severity.value == "WARN"
