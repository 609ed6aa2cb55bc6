"""What a killed process left is swept, and what a living one still writes is not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.storage import owner
from pipeline.storage.home import Home
from pipeline.storage.owner import files_below, scratch_folder, sweep_unfinished
from pipeline.storage.store import Store
from pipeline.takedown.blobs import scratch_of
from pipeline.takedown.mentions import Mentions

WRITER = """
import sys
from pathlib import Path
from pipeline.storage import owner
from pipeline.storage.owner import scratch_folder
from pipeline.storage.store import Store
if len(sys.argv) > 3:
    owner._machine = lambda: sys.argv[3]
with scratch_folder(Path(sys.argv[1]), "cut") as folder, Store(sys.argv[2]).write_file("raw/b/x.mp4") as file:
    (folder / "part").write_bytes(b"x")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the middle of its work, with a scratch folder and an unfinished blob."""
    where = [request.param] if hasattr(request, "param") else []
    command = [sys.executable, "-c", WRITER, str(tmp_path / "tmp"), str(tmp_path / "root"), *where]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        yield process
        process.kill()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_what_a_killed_process_left_is_swept_and_only_then(tmp_path: Path, writer: subprocess.Popen[bytes]) -> None:
    store, tmp = Store(tmp_path / "root"), tmp_path / "tmp"
    with scratch_folder(tmp, "download") as mine:
        assert len(names(tmp)) == 2
        assert store.sweep_unfinished("raw/b") == 0
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        with scratch_folder(tmp, "cut") as another:
            assert sorted(names(tmp)) == sorted([mine.name, another.name])
    assert names(tmp) == []
    assert len(names(tmp_path / "root/raw/b")) == 1
    assert store.sweep_unfinished("raw/b") == 1
    assert names(tmp_path / "root/raw/b") == []


@pytest.mark.parametrize("writer", ["othercontain"], indirect=True)
def test_what_a_killed_container_left_is_swept_by_the_next_one(tmp_path: Path, writer: subprocess.Popen[bytes]) -> None:
    """It has the same kernel, and process ids of its own; its takedown finds what the killed one had."""
    tmp, home, video = tmp_path / "tmp", Home(tmp_path), Mentions(frozenset({"nothing"}), frozenset())
    [theirs] = tmp.iterdir()
    assert theirs.name.endswith("othercontain")
    os.utime(theirs, (0, 0))
    with scratch_folder(tmp, "cut"):
        assert theirs.is_dir()
    assert scratch_of(home, video) == []
    writer.kill()
    writer.wait()
    assert scratch_of(home, video) == [theirs / "part"]
    with scratch_folder(tmp, "cut"):
        assert not theirs.exists()


def test_a_process_that_has_the_id_of_a_dead_one_keeps_nothing_alive(tmp_path: Path) -> None:
    (tmp_path / f"cut-{os.getppid()}-1-abcd").mkdir()  # of a process that started a tick after the machine did
    with scratch_folder(tmp_path, "cut") as mine:
        assert names(tmp_path) == [mine.name]


def test_a_home_that_machines_share_keeps_what_another_one_works_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here nothing of that process is known; a machine that was started again knows that its own are gone."""
    monkeypatch.setattr(owner, "_has_own_name", lambda: True)
    gone = f"cut-{2**22 + 1}-1-abcd1234"
    here, boot, machine = owner._host(), owner._boot(), owner._machine()
    kept = [f"{gone}-another-{boot}-othermachine", f"{gone}-{here}-{boot}-othercontain"]
    swept = [f"{gone}-{here}-{boot}-{machine}", f"{gone}-{here}-before-otherstart00", gone]
    for name in (*kept, *swept):
        (tmp_path / name).mkdir()
    with scratch_folder(tmp_path, "cut") as mine:
        assert sorted(names(tmp_path)) == sorted([*kept, mine.name])
    # what lies there unchanged for a week is nobody's
    (tmp_path / kept[1] / "part").write_bytes(b"x")
    for name in kept:
        os.utime(tmp_path / name, (0, 0))
    with scratch_folder(tmp_path, "cut") as mine:
        assert sorted(names(tmp_path)) == sorted([kept[1], mine.name])


def test_of_two_machines_that_cannot_be_told_apart_each_keeps_what_the_other_works_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers of one image may have one name; of a machine that was started again a day is enough."""
    monkeypatch.setattr(owner, "_has_own_name", lambda: False)
    theirs = tmp_path / f"cut-{2**22 + 1}-1-abcd1234-{owner._host()}-otherboot-otherstart00"
    theirs.mkdir()
    for hours, is_kept in ((23, True), (25, False)):
        os.utime(theirs, (time.time() - hours * 3600,) * 2)
        with scratch_folder(tmp_path, "cut"):
            assert theirs.is_dir() is is_kept


def test_a_folder_that_ends_while_it_is_looked_at_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "cut-1-1-abcd1234-another-otherboot-othermachine"
    (theirs / "attempt" / "parts").mkdir(parents=True)
    listed, scandir = list[str](), os.scandir

    def ends_before(path: object = ".") -> object:
        listed.append(str(path))
        if str(path) == str(theirs / "attempt") and theirs.exists():
            shutil.rmtree(theirs)
        return scandir(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", ends_before)
    assert [path for path in files_below(tmp_path) if path.is_dir()] == []
    (theirs / "attempt" / "parts").mkdir(parents=True)
    with scratch_folder(tmp_path, "cut") as mine:
        assert names(tmp_path) == [mine.name]
    assert listed.count(str(theirs / "attempt")) == 2


def test_other_files_and_other_machines_are_left_alone(tmp_path: Path) -> None:
    left = [".tmp-0123456789ab", "video.mp4", ".tmp-othermachine-1-1-abcd", f".tmp-{owner._machine()}-x-1-abcd"]
    for name in left:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / f".tmp-{owner._machine()}-{2**22 + 1}-1-abcd").write_bytes(b"x")
    assert sweep_unfinished(tmp_path) == 1
    assert sorted(names(tmp_path)) == sorted(left)
    with scratch_folder(tmp_path, "cut"):
        pass
    assert sorted(names(tmp_path)) == sorted(left)


def test_a_folder_that_is_not_there_has_nothing_to_sweep(store: Store) -> None:
    assert store.sweep_unfinished("raw/none") == 0
    assert Store("memory://x").sweep_unfinished("raw/none") == 0
