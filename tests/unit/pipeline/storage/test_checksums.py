"""A good file is never accused by its checksum, whenever its writer is killed and whoever else writes."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
from pathlib import Path

import pytest

from pipeline.inspect.deep import find_faults
from pipeline.storage import checksums
from pipeline.storage.checksums import NAME, all_checksums, forget_gone
from pipeline.storage.home import Home
from pipeline.storage.store import Store

KEY = "reports/latest/index.html"


def accused(store: Store) -> list[str]:
    return [fault.key for fault in find_faults(store, Home(Path(store.root, "home")))]


@pytest.mark.parametrize("lines", ["kept", "of an older version, none"])
@pytest.mark.parametrize("moment", ["before the rename", "after it"])
def test_a_kill_around_the_rename_accuses_neither_the_old_file_nor_the_new(
    store: Store, moment: str, lines: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_blob(KEY, b"old")
    if lines != "kept":
        Path(store.root, NAME).unlink()
    rename = Path.replace

    def killed(self: Path, target: Path | str) -> Path:
        if moment == "after it":
            rename(self, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            store.write_blob(KEY, b"new")
    assert store.read_blob(KEY) == (b"old" if moment == "before the rename" else b"new")
    assert accused(store) == []
    Path(store.url(KEY)).write_bytes(b"other")
    assert accused(store) == [KEY], "damage is still seen"


def test_a_file_takes_its_name_only_with_its_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_blob(KEY, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checksums, "_append", full)
        with pytest.raises(OSError, match="No space"):
            store.write_blob(KEY, b"new")
    assert (store.read_blob(KEY), accused(store)) == (b"old", [])


def test_a_line_that_comes_while_gone_files_are_forgotten_is_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_blob(KEY, b"old")
    store.write_blob("reports/gone", b"x")
    store.delete("reports/gone")
    read, writers = checksums._lines, list[threading.Thread]()

    def meanwhile(folder: Path, tail: int | None) -> list[tuple[str, checksums.Checksum]]:
        found = read(folder, tail)
        if not writers:
            writers.append(threading.Thread(target=store.write_blob, args=(KEY, b"new")))
            writers[0].start()
            writers[0].join(0.5)  # it waits until the file is replaced
        return found

    monkeypatch.setattr(checksums, "_lines", meanwhile)
    forget_gone(Path(store.root))
    writers[0].join()
    known = all_checksums(Path(store.root))
    assert known.keys() == {KEY}
    assert hashlib.sha256(b"new").hexdigest() in {one.sha256 for one in known[KEY]}
    assert accused(store) == []


def test_a_torn_line_spoils_no_other(store: Store) -> None:
    store.write_blob("reports/a", b"1")
    with Path(store.root, NAME).open("ab") as file:
        file.write(b"0123 half a li")
    store.write_blob("reports/b", b"2")
    assert set(all_checksums(Path(store.root))) == {"reports/a", "reports/b"}


def test_without_locks_no_line_is_taken_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may be about to rename a file whose line would go with the others."""
    store.write_blob(KEY, b"old")
    store.write_blob("reports/gone", b"x")
    store.delete("reports/gone")

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    store.write_blob(KEY, b"new")
    before = Path(store.root, NAME).read_bytes()
    forget_gone(Path(store.root))
    assert Path(store.root, NAME).read_bytes() == before
    assert accused(store) == []


def test_what_was_written_over_is_forgotten_but_the_present_file_and_the_newest_line_stay(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        store.write_blob(KEY, str(number).encode())
        store.write_blob("reports/same", b"same")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.write_blob(KEY, b"coming")
    forget_gone(Path(store.root))
    known = all_checksums(Path(store.root))
    assert {one.sha256 for one in known[KEY]} == {hashlib.sha256(data).hexdigest() for data in (b"4", b"coming")}
    assert len(known["reports/same"]) == 1
    assert Path(store.root, NAME).read_bytes().count(b"\n") == 3
    assert accused(store) == []
    Path(store.url(KEY)).write_bytes(b"3")
    assert accused(store) == [KEY]


def test_a_line_stays_until_its_file_has_its_name_whoever_writes_over_it_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines of two writers of one key: the one that renames last is not the one whose line is newest."""
    store.write_blob(KEY, b"old")
    rename, others = Path.replace, list[threading.Thread]()

    def meanwhile(self: Path, target: Path | str) -> Path:
        if not others:
            others.append(threading.Thread(target=lambda: (store.write_blob(KEY, b"b"), forget_gone(Path(store.root)))))
            others[0].start()
            others[0].join(0.5)  # it waits until this file has its name
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", meanwhile)
    store.write_blob(KEY, b"a")
    others[0].join()
    assert accused(store) == []


def test_a_write_reads_the_lines_only_back_to_its_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    many = "".join(checksums._line(f"reports/{number}", checksums.Checksum(1, "0" * 64)) for number in range(4000))
    store.write_blob("reports/first", b"1")
    with Path(store.root, NAME).open("a") as file:
        file.write(many)
    store.write_blob(KEY, b"1")
    size = Path(store.root, NAME).stat().st_size
    pread, read = os.pread, list[int]()

    def counted(file: int, count: int, at: int) -> bytes:
        read.append(count)
        return pread(file, count, at)

    monkeypatch.setattr(os, "pread", counted)
    for key, most in ((KEY, 1 << 17), ("reports/new", 1), ("reports/first", 2 * size)):
        read.clear()
        store.write_blob(key, b"2")
        assert sum(read) <= most, key
    known = all_checksums(Path(store.root))
    assert [len(known[key]) for key in (KEY, "reports/new", "reports/first")] == [2, 1, 2]
    assert len(known) == 4003
