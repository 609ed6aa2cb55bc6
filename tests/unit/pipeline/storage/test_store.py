from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake

from pipeline.errors import UserError
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store, rows_table


def tombstone(number: int | str, reason: str = "asked") -> dict[str, Any]:
    return {"takedown_id": str(number), "kind": "video", "target": f"v{number}", "reason": reason}


def ids(store: Store) -> list[str]:
    return sorted(store.read("takedowns", columns=["takedown_id"])["takedown_id"].to_pylist())


# -- blobs ------------------------------------------------------------------------------------------------------


def test_a_blob_comes_back_whole_or_by_range(store: Store):
    store.write_blob("clips/a/b.tar", b"0123456789")
    assert store.read_blob("clips/a/b.tar") == b"0123456789"
    assert store.read_range("clips/a/b.tar", 3, 4) == b"3456"
    assert store.exists("clips/a/b.tar")
    assert store.list_blobs("clips") == ["clips/a/b.tar"]
    assert store.list_blobs("clip") == []  # a prefix is a folder, not the start of a name


def test_a_range_beyond_a_truncated_blob_is_an_error_not_fewer_bytes(store: Store):
    store.write_blob("a.tar", b"01234")
    with pytest.raises(EOFError, match=r"a\.tar ends before byte 9"):
        store.read_range("a.tar", 3, 6)
    with pytest.raises(FileNotFoundError):
        store.read_range("absent.tar", 0, 1)


def test_an_error_in_the_middle_of_a_write_publishes_nothing(store: Store):
    def write() -> None:
        with store.write_file("models/x/weights") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert not store.exists("models/x/weights")
    assert store.list_blobs("models") == []


def test_an_overwrite_that_fails_leaves_the_old_bytes(store: Store):
    store.write_blob("x", b"old")

    def write() -> None:
        with store.write_file("x") as file:
            file.write(b"new")
            file.flush()
            assert store.read_blob("x") == b"old"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert store.read_blob("x") == b"old"


def test_kill_9_in_the_middle_of_a_write_leaves_nothing_readable(store: Store):
    program = (
        "import sys, time\nfrom pipeline.storage.store import Store\n"
        f"with Store({store.root!r}).write_file('clips/a.tar') as file:\n"
        "    file.write(b'x' * 1000000); file.flush(); print('half', flush=True); time.sleep(60)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=_environment())
    assert writer.stdout is not None
    assert writer.stdout.readline() == "half\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert not store.exists("clips/a.tar")
    left = store.list_blobs("clips")
    assert [Path(key).name.startswith(".tmp-") for key in left] == [True]  # named so that garbage collection finds it


@pytest.mark.parametrize("key", ["../outside", "a/../../outside", "/etc/passwd"])
def test_a_key_cannot_leave_the_root(store: Store, key: str):
    with pytest.raises(ValueError, match="relative to the root"):
        store.write_blob(key, b"")


def test_deleting_twice_is_fine(store: Store):
    store.write_blob("a/b", b"1")
    store.delete("a/b")
    store.delete("a/b")
    assert not store.exists("a/b")


def test_local_file_and_put_file_carry_bytes_across(store: Store, tmp_path: Path):
    source = tmp_path / "source"
    source.write_bytes(b"abc")
    store.put_file("raw/x.mp4", source)
    with store.local_file("raw/x.mp4") as path:
        assert path.read_bytes() == b"abc"
    assert source.exists()
    with pytest.raises(FileNotFoundError), store.local_file("raw/absent"):
        pass


# -- the root ---------------------------------------------------------------------------------------------------


def test_the_probe_of_a_writable_root_leaves_nothing(store: Store):
    store.check_writable()
    assert store.list_blobs("") == []


def test_an_unwritable_root_is_named_with_the_fix(tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match=r"file/root' is not writable.*--root"):
        Store(tmp_path / "file" / "root").check_writable()


def test_an_object_store_that_does_not_answer_is_named_with_the_fix(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    silent = {"endpoint_url": "http://127.0.0.1:9", "key": "k", "secret": "s"}
    with pytest.raises(UserError, match=r"s3://bucket/x' is not writable.*--root"):
        Store("s3://bucket/x", silent).check_writable()


@pytest.mark.parametrize("name", ["a%20b", "a[b]", "a\\b", "a\nb"])
def test_a_root_that_the_table_format_cannot_hold_is_refused(tmp_path: Path, name: str):
    with pytest.raises(UserError, match="choose another with --root"):
        Store(tmp_path / name)


@pytest.mark.parametrize("name", ["a b", "é😀", "#1?", "o'clock", "a:b"])
def test_unusual_roots_hold_tables_and_blobs(tmp_path: Path, name: str):
    store = Store(tmp_path / name)
    store.append("takedowns", [tombstone(1)])
    store.merge("takedowns", [tombstone(1), tombstone(2)], on=["takedown_id"])
    store.write_blob("x y/ü", b"1")
    assert ids(store) == ["1", "2"]
    assert store.list_blobs("x y") == ["x y/ü"]


@pytest.mark.parametrize("form", ["{}", "file://{}", "file:{}"])
def test_a_folder_may_be_given_as_a_path_or_a_file_url(tmp_path: Path, form: str):
    assert Store(form.format(tmp_path)).root == str(tmp_path)


def test_a_store_travels_into_worker_processes(store: Store):
    store.append("takedowns", [tombstone(1)])
    assert ids(pickle.loads(pickle.dumps(store))) == ["1"]


# -- tables -----------------------------------------------------------------------------------------------------


def test_a_table_that_does_not_exist_reads_as_empty_with_its_schema(store: Store):
    assert store.version("clips") == -1
    assert store.inputs("clips") == {}
    assert store.read("clips").schema == SCHEMAS["clips"]
    assert store.read("clips", columns=["clip_id"]).column_names == ["clip_id"]
    assert list(store.scan("clips", ["clip_id"])) == []


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_table_takes_a_row_of_nulls_and_gives_its_own_schema_back(store: Store, name: str):
    store.append(name, [{}])
    table = store.read(name)
    assert table.schema == SCHEMAS[name]
    assert len(table) == 1


def test_append_adds_a_commit_and_no_rows_add_none(store: Store):
    assert store.append("takedowns", [tombstone(1)]) == 0
    assert store.append("takedowns", [tombstone(2)]) == 1
    assert store.append("takedowns", []) == 1
    assert store.merge("takedowns", [], on=["takedown_id"]) == 1
    assert ids(store) == ["1", "2"]


def test_columns_and_filter_reach_the_file(store: Store):
    store.append("takedowns", [tombstone(k) for k in range(5)])
    table = store.read("takedowns", columns=["target"], where=pc.field("takedown_id") == "3")
    assert table.to_pylist() == [{"target": "v3"}]
    batches = list(store.scan("takedowns", ["target", "kind"], where=pc.field("takedown_id") > "1", batch_rows=2))
    assert sum(len(batch) for batch in batches) == 3
    assert batches[0].schema.names == ["target", "kind"]


def test_merge_updates_rows_by_key_and_adds_the_rest(store: Store):
    store.append("takedowns", [tombstone(1), tombstone(2)])
    store.merge("takedowns", [tombstone(2, "changed"), tombstone(3)], on=["takedown_id"])
    assert {row["takedown_id"]: row["reason"] for row in store.read("takedowns").to_pylist()} == {
        "1": "asked",
        "2": "changed",
        "3": "asked",
    }


def test_replace_swaps_all_rows_or_only_those_of_a_predicate(store: Store):
    store.append("takedowns", [tombstone(1), tombstone(2), tombstone("o'k")])
    store.replace("takedowns", [tombstone(2, "again")], where="takedown_id = '2'")
    assert ids(store) == ["1", "2", "o'k"]
    store.replace("takedowns", [], where="takedown_id = 'o''k'")
    assert ids(store) == ["1", "2"]
    store.replace("takedowns", [tombstone(9)])
    assert ids(store) == ["9"]
    store.replace("takedowns", [])
    assert ids(store) == []


def test_a_replace_that_writes_outside_its_predicate_changes_nothing(store: Store):
    store.append("takedowns", [tombstone(1)])
    with pytest.raises(Exception, match="failed validation"):
        store.replace("takedowns", [tombstone(7)], where="takedown_id = '1'")
    assert ids(store) == ["1"]


def test_a_reader_sees_committed_rows_only(store: Store):
    store.append("takedowns", [tombstone(1)])
    folder = Path(store.root) / "tables" / "takedowns"
    data = next(folder.glob("*.parquet"))
    shutil.copy(data, folder / "part-of-a-commit-that-never-came.parquet")
    assert ids(store) == ["1"]


def test_a_table_folder_without_a_commit_does_not_exist(store: Store):
    (Path(store.root) / "tables" / "takedowns" / "_delta_log").mkdir(parents=True)
    assert store.version("takedowns") == -1
    assert ids(store) == []
    assert store.append("takedowns", [tombstone(1)]) == 0


def test_the_last_commit_keeps_its_inputs(store: Store):
    store.append("takedowns", [tombstone(1)], inputs={"clips": 3, "rule": "é"})
    assert store.inputs("takedowns") == {"clips": 3, "rule": "é"}
    store.merge("takedowns", [tombstone(2)], on=["takedown_id"], inputs={"clips": 4})
    assert store.inputs("takedowns") == {"clips": 4}
    store.replace("takedowns", [], inputs={"clips": 5})
    assert store.inputs("takedowns") == {"clips": 5}


def test_a_title_with_half_an_emoji_does_not_stop_the_rows_beside_it(store: Store):
    store.append("videos", [{"video_id": "a", "title": "half \ud83d", "tags": ["ok", "\udc00"]}, {"video_id": "b"}])
    rows = store.read("videos", columns=["video_id", "title", "tags"]).to_pylist()
    assert [row["video_id"] for row in rows] == ["a", "b"]
    assert rows[0]["title"] == "half ?"
    assert rows[0]["tags"] == ["ok", "?"]


def test_hostile_text_comes_back_as_it_went_in(store: Store):
    titles = ["a/../b", "quote \" and ' both", "line\nbreak\ttab", "nul\x00", "🎮" * 250, "'; DROP TABLE videos; --"]
    store.append("videos", [{"video_id": str(k), "title": title} for k, title in enumerate(titles)])
    store.merge("videos", [{"video_id": "0", "title": titles[0]}], on=["video_id"])
    assert sorted(store.read("videos", columns=["title"])["title"].to_pylist()) == sorted(titles)


def test_rows_in_a_wrong_type_are_refused(store: Store):
    with pytest.raises(pa.ArrowInvalid):
        store.append("clips", [{"clip_id": "a", "start_ms": "soon"}])
    assert store.version("clips") == -1


def test_an_arrow_table_takes_the_order_of_the_schema():
    table = rows_table("takedowns", pa.table({"reason": ["r"], "takedown_id": ["1"]}))
    assert table.schema == SCHEMAS["takedowns"]
    assert table.to_pylist()[0] == {
        "takedown_id": "1",
        "kind": None,
        "target": None,
        "reason": "r",
        "requested_at": None,
    }


# -- schemas of other versions ------------------------------------------------------------------------------------


def _foreign(store: Store, description: str) -> None:
    folder = Path(store.root) / "tables" / "takedowns"
    folder.mkdir(parents=True)
    write_deltalake(str(folder), pa.table({"takedown_id": ["old"]}), description=description)


@pytest.mark.parametrize(
    "touch",
    [
        lambda store: store.read("takedowns"),
        lambda store: store.version("takedowns"),
        lambda store: list(store.scan("takedowns", ["takedown_id"])),
        lambda store: store.append("takedowns", [tombstone(1)]),
        lambda store: store.merge("takedowns", [tombstone(1)], on=["takedown_id"]),
        lambda store: store.replace("takedowns", [tombstone(1)]),
    ],
)
def test_a_table_of_a_newer_schema_is_refused_by_every_operation(store: Store, touch: Callable[[Store], object]):
    _foreign(store, "lampworks schema 99")
    with pytest.raises(UserError, match=r"'takedowns'.*newer lampworks \(schema 99.*update lampworks"):
        touch(store)
    assert len(DeltaTable(f"{store.root}/tables/takedowns").history()) == 1


def test_a_table_that_something_else_wrote_is_refused(store: Store):
    _foreign(store, "quarterly figures")
    with pytest.raises(UserError, match="not written by lampworks"):
        store.read("takedowns")


def test_a_table_from_before_a_column_was_added_reads_it_as_null_and_grows(store: Store):
    _foreign(store, "lampworks schema 1")
    assert store.read("takedowns").to_pylist()[0]["reason"] is None
    assert next(store.scan("takedowns", ["reason", "takedown_id"])).to_pylist() == [
        {"reason": None, "takedown_id": "old"}
    ]
    store.append("takedowns", [tombstone("appended")])
    store.merge("takedowns", [tombstone("merged"), tombstone("old", "filled")], on=["takedown_id"])
    store.replace("takedowns", [tombstone("merged", "replaced")], where="takedown_id = 'merged'")
    assert {row["takedown_id"]: row["reason"] for row in store.read("takedowns").to_pylist()} == {
        "old": "filled",
        "appended": "asked",
        "merged": "replaced",
    }


def test_a_file_that_is_taken_is_moved_and_one_with_another_name_is_copied(store: Store, tmp_path: Path):
    (tmp_path / "mine").write_bytes(b"mine")
    os.link(tmp_path / "mine", tmp_path / "linked")
    (tmp_path / "alone").write_bytes(b"alone")
    inode = (tmp_path / "alone").stat().st_ino
    store.take_file("raw/a", tmp_path / "alone")
    store.take_file("raw/b", tmp_path / "linked")
    assert (store.read_blob("raw/a"), store.read_blob("raw/b")) == (b"alone", b"mine")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["mine"]
    assert Path(store.url("raw/a")).stat().st_ino == inode
    (tmp_path / "mine").write_bytes(b"edited")
    assert store.read_blob("raw/b") == b"mine"


@pytest.mark.parametrize("table", ["downloads", "scores"])
def test_a_table_of_many_small_commits_is_put_together_and_says_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch, table: str
):
    monkeypatch.setattr("pipeline.storage.store._TIDY_EVERY", 10)
    monkeypatch.setattr("pipeline.storage.store._MANY_FILES", 5)
    key = "video_id" if table == "downloads" else "clip_id"
    for number in range(11):
        version = store.append(table, [{key: f"v{number:02d}", "batch": f"b{number % 2}"}], inputs={"of": number})
    assert version == store.version(table) == 11  # the last one was followed by one that only moved rows
    assert len(DeltaTable(store.url(f"tables/{table}")).file_uris()) == 1
    assert sorted(store.read(table)[key].to_pylist()) == [f"v{number:02d}" for number in range(11)]
    assert len(store.read(table, [key], pc.field("batch") == "b1")) == 5
    assert store.deleted_rows(table, commits=100) == 0
    assert store.inputs(table) == {"of": 10}


# -- many writers -------------------------------------------------------------------------------------------------


def _append(root: str, writer: int) -> None:
    for number in range(5):
        Store(root).append("takedowns", [tombstone(f"a{writer}-{number}")])


def _merge(root: str, writer: int) -> None:
    for number in range(3):
        Store(root).merge("takedowns", [tombstone(f"m{writer}-{number}"), tombstone("shared")], on=["takedown_id"])


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


def _environment() -> dict[str, str]:
    root = Path(__file__).parents[4]
    return {**os.environ, "PYTHONPATH": str(root)}


# -- the same on S3 -------------------------------------------------------------------------------------------------


NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def found(name: str, **facts: Any) -> dict[str, Any]:
    return {"video_id": name, "queries": ["q"], "found_at": NOW, **facts}


def _merge_young(root: str) -> None:
    for number in range(6):
        rows = [found(f"v{number}-{one}") for one in range(20)]
        Store(root).merge("videos", rows, on=["video_id"], since=("found_at", NOW - timedelta(days=2)))


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


def test_texts_are_added_to_the_lists_of_the_rows_named_and_to_no_other(store: Store):
    store.add_to_lists("videos", "video_id", "queries", {"a": ["new"]})
    assert store.version("videos") == -1
    store.append("videos", [found(name, title=f"title {name}", tags=["t"]) for name in "abc'"])
    evil = "it's \\ \n \" $1"
    store.add_to_lists("videos", "video_id", "queries", {"a": ["q", evil, "two"], "c": ["two"], "'": ["two"]})
    rows = {row["video_id"]: row for row in store.read("videos").to_pylist()}
    assert {name: row["queries"] for name, row in rows.items()} == {
        "a": ["q", evil, "two"], "b": ["q"], "c": ["q", "two"], "'": ["q", "two"],
    }  # fmt: skip
    assert {(row["title"], tuple(row["tags"])) for row in rows.values()} == {(f"title {name}", ("t",)) for name in rows}
    version = store.version("videos")
    assert store.add_to_lists("videos", "video_id", "queries", {}) == version


def test_blobs_and_tables_behave_the_same_on_s3(s3_options: dict[str, str]):
    store = Store("s3://lampworks-test/store", s3_options)
    store.check_writable()
    store.write_blob("a/b.tar", b"01234")
    assert store.read_range("a/b.tar", 1, 3) == b"123"
    with pytest.raises(EOFError):
        store.read_range("a/b.tar", 3, 6)
    assert store.list_blobs("a") == ["a/b.tar"]
    with store.local_file("a/b.tar") as path:
        assert path.read_bytes() == b"01234"
    store.delete("a/b.tar")
    assert not store.exists("a/b.tar")
    store.append("takedowns", [tombstone(1)], inputs={"x": 1})
    store.merge("takedowns", [tombstone(1, "changed"), tombstone(2)], on=["takedown_id"])
    assert ids(store) == ["1", "2"]
    store.replace("takedowns", [tombstone(3)])
    assert ids(pickle.loads(pickle.dumps(store))) == ["3"]


def test_a_merge_where_the_table_is_new_makes_it(store: Store):
    store.merge("takedowns", [tombstone(1), tombstone(2)], on=["takedown_id"], inputs={"from": 1})
    assert ids(store) == ["1", "2"]
    assert store.inputs("takedowns") == {"from": 1}


def test_rows_that_a_merge_rewrote_are_found_by_any_condition_on_their_text(store: Store):
    store.append("takedowns", [tombstone(1), tombstone(2, "court")])
    # a merge rewrites files with another string type, for which Arrow itself has no comparison
    store.merge("takedowns", [tombstone(2, "court order"), tombstone(3)], on=["takedown_id"])
    asked = (pc.field("reason") == "asked") & (pc.field("kind") == "video")
    assert sorted(store.read("takedowns", ["target"], asked)["target"].to_pylist()) == ["v1", "v3"]
    assert store.read("takedowns", ["reason"], pc.field("target").isin(["v2"]))["reason"].to_pylist() == ["court order"]
    assert len(store.read("takedowns", where=pc.field("kind") == "channel")) == 0
    assert sum(len(rows) for rows in store.scan("takedowns", ["target"], asked)) == 2


def test_a_disk_that_fills_up_leaves_nothing_half_written(store: Store):
    store.append("takedowns", [tombstone(1)])
    store.write_blob("x", b"old")
    # a limit on file sizes stands in for the full disk
    program = (
        "import resource, signal, sys\nfrom pipeline.storage.store import Store\n"
        f"store = Store({store.root!r})\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "rows = [{'takedown_id': f'{k * 7919 % 99991:x}' * 9} for k in range(9000)]\n"
        "for write in (lambda: store.write_blob('x', b'1' * 9000), lambda: store.append('takedowns', rows)):\n"
        "    try:\n        write()\n    except Exception as exc:\n        print(type(exc).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=_environment())
    assert len(done.stdout.split()) == 2, done.stdout + done.stderr
    assert store.read_blob("x") == b"old"
    assert store.list_blobs("") == [key for key in store.list_blobs("") if ".tmp-" not in key]
    assert ids(store) == ["1"]
    store.append("takedowns", [tombstone(2)])
    assert ids(store) == ["1", "2"]
