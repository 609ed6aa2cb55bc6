"""A good file is never accused by its checksum, whenever its writer is killed and whoever else writes."""

from __future__ import annotations

import hashlib
import multiprocessing
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


def _write_often(root: str, name: str) -> None:
    for number in range(40):
        Store(root).write_blob(f"reports/{name}", str(number).encode())


def test_no_line_is_lost_where_gone_files_are_forgotten_at_the_same_time(store: Store) -> None:
    names = ["a", "b"]
    spawn = multiprocessing.get_context("fork")
    writers = [spawn.Process(target=_write_often, args=(store.root, name), daemon=True) for name in names]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        store.write_blob("reports/gone", b"x")
        store.delete("reports/gone")
        forget_gone(Path(store.root))
    known = all_checksums(Path(store.root))
    for name in names:
        assert hashlib.sha256(b"39").hexdigest() in {one.sha256 for one in known[f"reports/{name}"]}
    assert accused(store) == []


def test_a_torn_line_spoils_no_other(store: Store) -> None:
    store.write_blob("reports/a", b"1")
    with Path(store.root, NAME).open("ab") as file:
        file.write(b"0123 half a li")
    store.write_blob("reports/b", b"2")
    assert set(all_checksums(Path(store.root))) == {"reports/a", "reports/b"}
