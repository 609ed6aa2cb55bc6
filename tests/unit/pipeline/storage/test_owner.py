"""What a killed process left is swept, and what a living one still writes is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.storage import owner
from pipeline.storage.owner import scratch_folder, sweep_unfinished
from pipeline.storage.store import Store

WRITER = """
import sys
from pathlib import Path
from pipeline.storage.owner import scratch_folder
from pipeline.storage.store import Store
with scratch_folder(Path(sys.argv[1]), "cut") as folder, Store(sys.argv[2]).write_file("raw/b/x.mp4") as file:
    (folder / "part").write_bytes(b"x")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path: Path):
    """A process in the middle of its work, with a scratch folder and an unfinished blob."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "tmp"), str(tmp_path / "root")]
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


def test_a_process_that_has_the_id_of_a_dead_one_keeps_nothing_alive(tmp_path: Path) -> None:
    (tmp_path / f"cut-{os.getppid()}-1-abcd").mkdir()  # of a process that started a tick after the machine did
    with scratch_folder(tmp_path, "cut") as mine:
        assert names(tmp_path) == [mine.name]


def test_a_home_that_machines_share_keeps_what_another_one_works_in(tmp_path: Path) -> None:
    """Here nothing of that process is known; a machine that was started again knows that its own are gone."""
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
