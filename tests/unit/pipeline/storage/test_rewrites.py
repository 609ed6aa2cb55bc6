"""A takedown that deletes old files of a table beside readers and writers of it accuses nothing, and loses no row."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake.exceptions import DeltaError

from pipeline.errors import StoreError
from pipeline.storage import mend_tables, rewrites, tables
from pipeline.storage.arrow import pc
from pipeline.storage.damage import DamagedError
from pipeline.storage.mend_tables import find_table_damage
from pipeline.storage.store import Store
from pipeline.takedown.mentions import Mentions
from pipeline.takedown.rows import delete_stray_files

NAME = "clippings"


def rows(first: int, last: int) -> list[dict[str, Any]]:
    return [{"video_id": f"v{number}", "clip_spec": "s", "batch": "b"} for number in range(first, last)]


def take_down(store: Store, *videos: str) -> None:
    store.delete_rows(NAME, "video_id", videos)
    store.purge(NAME)


class Beside(Store):
    """A store whose table is rewritten once, after it was opened and before it is read."""

    rewrite: Any = None

    def _reader(self, name: str, table: Any, where: Any) -> Any:
        rewrite, self.rewrite = self.rewrite, None
        if rewrite is not None:
            rewrite()
        return super()._reader(name, table, where)


@pytest.fixture
def filled(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.append(NAME, rows(0, 10), inputs={"of": "first"})
    store.append(NAME, rows(10, 20), inputs={"of": "second"})
    return store


@pytest.fixture
def reader(filled: Store) -> Beside:
    found = Beside(filled.root)
    found.rewrite = lambda: take_down(filled, "v3", "v13")
    return found


def left() -> set[str]:
    return {f"v{number}" for number in range(20)} - {"v3", "v13"}


def test_a_read_finds_the_rows_of_the_version_after_the_takedown(reader: Beside) -> None:
    assert set(reader.read(NAME)["video_id"].to_pylist()) == left()


def test_a_scan_that_has_given_no_row_yet_begins_again(reader: Beside) -> None:
    found = [video for batch in reader.scan(NAME, ["video_id"]) for video in batch.column("video_id").to_pylist()]
    assert sorted(found) == sorted(left())


def test_a_scan_in_its_middle_says_that_nothing_is_damaged(filled: Store) -> None:
    batches = filled.scan(NAME, ["video_id"], pc.field("batch") == "b", batch_rows=5)
    next(batches)
    take_down(Store(filled.root), "v3", "v13")
    with pytest.raises(StoreError, match=r"rewritten by a takedown .* Nothing is damaged: run the same command again"):
        list(batches)


def test_a_file_that_the_present_version_lacks_is_damage_also_beside_writers(filled: Store) -> None:
    reader = Beside(filled.root)
    lost = next(Path(filled.url(f"tables/{NAME}")).glob("*.parquet"))
    reader.rewrite = lambda: (lost.unlink(), Store(filled.root).append(NAME, rows(20, 21)))
    with pytest.raises(DamagedError, match=f"{lost.name} is gone"):
        reader.read(NAME)
    assert [damage.path for damage in find_table_damage(filled, NAME)] == [lost.name]


def test_what_a_table_was_made_from_is_known_where_its_old_log_goes_meanwhile(filled: Store) -> None:
    class Slow(Store):
        opened = 0

        def _opened(self, name: str) -> Any:
            table = super()._opened(name)
            self.opened += 1
            if self.opened == 1:
                take_down(filled, "v3")
            return table

    assert Slow(filled.root).inputs(NAME) == {"of": "second"}


def test_a_deep_check_beside_a_takedown_accuses_no_file(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = mend_tables._live_files, []

    def live(store: Store, name: str) -> set[str] | None:
        found = real(store, name)
        calls.append(found)
        if len(calls) == 1:
            take_down(Store(filled.root), "v3")
        return found

    monkeypatch.setattr(mend_tables, "_live_files", live)
    assert find_table_damage(filled, NAME) == []
    assert len(calls) == 2


def test_a_write_waits_until_a_takedown_has_deleted_the_old_log(filled: Store) -> None:
    folder = Path(filled.url(f"tables/{NAME}"))
    writer = threading.Thread(target=Store(filled.root).append, args=(NAME, rows(20, 21)))
    with rewrites.locked(folder, alone=True):
        writer.start()
        writer.join(0.3)
        assert writer.is_alive()
        assert len(filled.read(NAME)) == 20  # who reads waits for nobody
    writer.join(30)
    assert len(filled.read(NAME)) == 21


def test_a_takedown_waits_for_a_write_and_keeps_its_rows(filled: Store) -> None:
    folder = Path(filled.url(f"tables/{NAME}"))
    filled.delete_rows(NAME, "video_id", ["v3"])
    takedown = threading.Thread(target=Store(filled.root).purge, args=(NAME,))
    with rewrites.locked(folder, alone=False):
        takedown.start()
        takedown.join(0.3)
        assert takedown.is_alive()
        filled.append(NAME, rows(20, 21))
    takedown.join(30)
    assert len(filled.read(NAME)) == 20
    assert len(list((folder / "_delta_log").glob("*.json"))) == 1


def test_a_file_of_a_writer_at_work_is_not_taken_for_one_that_was_left(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the video and is not committed yet; the rows of others in it must not go with it."""
    written, looked = threading.Event(), threading.Event()
    real = tables.write_deltalake

    def slowly(*arguments: Any, **options: Any) -> None:
        file = Path(filled.url(f"tables/{NAME}/part-at-work.parquet"))
        pq.write_table(pa.table({"video_id": ["v3", "v30"]}), file)
        written.set()
        looked.wait(1)
        assert file.exists()
        file.unlink()
        real(*arguments, **options)

    monkeypatch.setattr(tables, "write_deltalake", slowly)
    writer = threading.Thread(target=filled.append, args=(NAME, rows(30, 31)))
    writer.start()
    assert written.wait(30)
    mentions = Mentions({"v3"}, set(), set(), set())
    assert delete_stray_files(Store(filled.root), NAME, mentions) == 0
    looked.set()
    writer.join(30)
    assert "v30" in filled.read(NAME)["video_id"].to_pylist()


@pytest.mark.parametrize("landed", [True, False])
def test_on_s3_an_append_that_may_have_landed_before_a_takedown_is_not_made_twice(
    s3_options: dict[str, str], monkeypatch: pytest.MonkeyPatch, landed: bool
) -> None:
    root = f"s3://lampworks-test/{uuid.uuid4().hex[:8]}"
    store = Store(root, s3_options)
    store.append(NAME, rows(0, 3))
    real, calls = tables.write_deltalake, []

    def meets_a_takedown(*arguments: Any, **options: Any) -> None:
        calls.append(1)
        if landed:
            real(*arguments, **options)
        with monkeypatch.context() as patch:
            patch.setattr(tables, "write_deltalake", real)
            take_down(Store(root, s3_options), "v1")
        raise DeltaError("Invalid table version: 1")

    monkeypatch.setattr(tables, "write_deltalake", meets_a_takedown)
    with pytest.raises(StoreError, match="rewritten by a takedown"):
        store.append(NAME, rows(3, 4))
    assert len(calls) == 1
    assert sorted(store.read(NAME)["video_id"].to_pylist()) == ["v0", "v2", *(["v3"] if landed else [])]
