"""The deep check beside a takedown: files whose videos were taken down, and files that were replaced, are no faults."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from pipeline.inspect.deep import find_faults
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown

TAR = "clips/s/b/v1.tar"


def clipping(data: bytes) -> dict[str, Any]:
    return {
        "video_id": "v1", "batch": "b", "clip_spec": "s", "state": "ok", "num_clips": 3, "tar": TAR,
        "tar_sha256": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip


@pytest.fixture
def cut(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.append("videos", [{"video_id": "v1", "batch": "b", "verdict": "kept"}])
    store.append("clippings", [clipping(b"clips")])
    return store


def faults(store: Store) -> list[tuple[str, str]]:
    return [(fault.key, fault.why) for fault in find_faults(store, home_of(store))]


def test_clips_that_a_takedown_has_deleted_before_their_rows_are_not_missing(cut: Store) -> None:
    assert faults(cut) == [(TAR, "is not there")]
    request_takedown(cut, "video", "v1", "asked by its owner")
    assert faults(cut) == []


def test_a_file_that_is_replaced_while_the_check_reads_is_compared_with_its_new_row(
    cut: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut.write_blob(TAR, b"clips")
    looks = []

    def sha256(store: Store, key: str) -> str:
        looks.append(key)
        if len(looks) == 1:
            store.write_blob(TAR, b"other clips")
            store.merge("clippings", [clipping(b"other clips")], on=["video_id", "clip_spec"])
        return hashlib.sha256(store.read_blob(key)).hexdigest()

    monkeypatch.setattr(Store, "sha256", sha256)
    assert faults(cut) == []
    assert looks == [TAR]
    cut.write_blob(TAR, b"spoiled")
    assert faults(cut) == [(TAR, "has another SHA-256 than its row says (7 bytes)")]
