"""A table in a folder is opened once for many reads, and again with every change of its log."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from pipeline.storage import read_dataset
from pipeline.storage.arrow import pc
from pipeline.storage.damage import DamagedError
from pipeline.storage.store import Store

NAME = "clippings"


class Counting(Store):
    """Counts how often a table is opened."""

    opened = 0

    def _opened(self, name: str) -> Any:
        self.opened += 1
        return super()._opened(name)


def videos(store: Store, **options: Any) -> list[str]:
    return sorted(store.read(NAME, ["video_id"], **options)["video_id"].to_pylist())


def add(store: Store, *names: str) -> None:
    store.append(NAME, [{"video_id": name, "clip_spec": "s", "batch": "b"} for name in names], inputs={"of": names})


@pytest.fixture
def filled(tmp_path: Path) -> Counting:
    store = Counting(tmp_path / "root")
    add(store, "a")
    add(store, "b")
    store.opened = 0
    return store


def test_reads_of_one_version_open_the_table_once_at_most(filled: Counting) -> None:
    for _ in range(3):
        assert videos(filled) == ["a", "b"]
        assert filled.version(NAME) == 1
        assert filled.inputs(NAME) == {"of": ["b"]}
    assert filled.opened <= 1


def test_a_commit_of_another_is_seen_by_the_next_read(filled: Counting) -> None:
    assert videos(filled) == ["a", "b"]
    add(Store(filled.root), "c")
    assert videos(filled) == ["a", "b", "c"]
    assert (filled.version(NAME), filled.inputs(NAME)) == (2, {"of": ["c"]})


def test_statistics_of_many_files_are_taken_in_once_for_a_version(
    filled: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads a store in groups of batches has a condition for each: files times groups would be quadratic."""
    monkeypatch.setattr(read_dataset, "_FEW_FILES", 0)
    taken: list[int] = []
    whole = DeltaTable.to_pyarrow_dataset

    def noted(table: DeltaTable, *args: Any, **options: Any) -> Any:
        taken.append(table.version())
        return whole(table, *args, **options)

    monkeypatch.setattr(DeltaTable, "to_pyarrow_dataset", noted)
    for name in ("a", "b", "c"):
        assert videos(filled, where=pc.field("video_id") == name) == ([name] if name < "c" else [])
    assert taken == [1]
    add(Store(filled.root), "c")
    assert videos(filled, where=pc.field("video_id") == "c") == ["c"]
    assert taken == [1, 2]


def test_another_table_of_the_same_version_in_its_place_is_read(filled: Counting, tmp_path: Path) -> None:
    assert videos(filled) == ["a", "b"]
    other = Store(tmp_path / "other")
    add(other, "x")
    add(other, "y")
    shutil.rmtree(filled.url(f"tables/{NAME}"))
    shutil.copytree(other.url(f"tables/{NAME}"), filled.url(f"tables/{NAME}"))
    assert videos(filled) == ["x", "y"]


def test_a_table_that_goes_is_empty_for_the_next_read(filled: Counting) -> None:
    assert videos(filled) == ["a", "b"]
    shutil.rmtree(filled.url(f"tables/{NAME}"))
    assert videos(filled) == []
    assert filled.version(NAME) == -1


def test_a_log_that_is_written_over_after_a_read_is_told_by_the_next(filled: Counting) -> None:
    assert videos(filled) == ["a", "b"]
    log = Path(filled.url(f"tables/{NAME}/_delta_log/{1:020d}.json"))
    log.write_bytes(log.read_bytes().replace(b'"b', b'"c'))
    with pytest.raises(DamagedError, match=log.name):
        filled.read(NAME)


@pytest.mark.parametrize("few", [0, 8])
def test_a_condition_finds_the_same_rows_with_and_without_the_statistics_of_the_log(
    filled: Counting, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.merge(NAME, [{"video_id": "c", "clip_spec": "s", "batch": "other"}], on=["video_id"])
    monkeypatch.setattr(read_dataset, "_FEW_FILES", few)
    assert videos(filled, where=pc.field("batch") == "b") == ["a", "b"]
    assert videos(filled, where=pc.field("video_id") >= "b") == ["b", "c"]
    assert videos(filled, where=pc.field("message").is_null()) == ["a", "b", "c"]
