"""Blobs are written whole or not at all, and stay inside the root."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import StoreError, UserError
from pipeline.storage.store import Store


def test_a_blob_comes_back_whole_or_by_range(store: Store):
    store.write_blob("clips/a/b.tar", b"0123456789")
    assert store.read_blob("clips/a/b.tar") == b"0123456789"
    assert store.read_range("clips/a/b.tar", 3, 4) == b"3456"
    assert store.exists("clips/a/b.tar")
    assert store.list_blobs("clips") == ["clips/a/b.tar"]
    assert store.list_blobs("clip") == []  # a prefix is a folder, not the start of a name


@pytest.mark.parametrize("place", ["folder", "s3"])
def test_blobs_are_listed_with_their_size_and_time(store: Store, place: str, request: pytest.FixtureRequest):
    if place == "s3":
        store = Store("s3://lampworks-test/sizes", request.getfixturevalue("s3_options"))
    store.write_blob("models/a/x", b"01234")
    store.write_blob("models/b", b"")
    found = store.stat_blobs("models")
    assert {key: stat.size for key, stat in found.items()} == {"models/a/x": 5, "models/b": 0}
    assert all(abs((datetime.now(UTC) - stat.modified).total_seconds()) < 600 for stat in found.values())
    assert store.stat_blobs("reports") == {}


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


def test_the_probe_of_a_writable_root_leaves_nothing(store: Store):
    store.check_writable()
    assert store.list_blobs("") == []


def test_an_unwritable_root_is_named_with_the_fix(tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match=r"file/root' is not writable.*--root"):
        Store(tmp_path / "file" / "root").check_writable()


def test_an_object_store_that_does_not_answer_is_named_with_the_fix():
    silent = {"endpoint_url": "http://127.0.0.1:9", "key": "k", "secret": "s", "retry_s": "0"}
    with pytest.raises(StoreError, match=r"store s3://bucket/x at http://127.0.0.1:9: .* \(endpoint_url\) is right"):
        Store("s3://bucket/x", silent).check_writable()


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


def _environment() -> dict[str, str]:
    root = Path(__file__).parents[4]
    return {**os.environ, "PYTHONPATH": str(root)}
