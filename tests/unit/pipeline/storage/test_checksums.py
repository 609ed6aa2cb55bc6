"""A good file is never accused by its checksum, whenever its writer is killed and whoever else writes."""

from __future__ import annotations

import hashlib
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

    def full(folder: Path, lines: str) -> None:
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
