"""One driver per root, by a lock that leaves no trace."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assets.passes.lock import HELD, TRAINING, holder_of, lock_home, marked_processes, trainings_of
from pipeline.errors import UserError
from pipeline.storage.home import Home

HOLDER = """
import sys
from pathlib import Path
from assets.passes.lock import lock_home
from pipeline.storage.home import Home
with lock_home(Home(Path(sys.argv[1])), "the-root"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_with_the_pid_and_the_root_and_gets_in_once_the_first_is_killed(
    tmp_path: Path,
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"root 'the-root' is in use by process {holder.pid}"):  # noqa: SIM117
            with lock_home(Home(tmp_path), "the-root"):
                pass
        assert holder_of(tmp_path / "lock") == holder.pid
        holder.kill()
        holder.wait()
    with lock_home(Home(tmp_path), "the-root") as fresh:
        assert fresh


def test_taking_it_again_changes_no_byte_and_no_date(tmp_path: Path) -> None:
    with lock_home(Home(tmp_path), "r"):
        pass
    before = (tmp_path / "lock").stat()
    with lock_home(Home(tmp_path), "r"):
        pass
    after = (tmp_path / "lock").stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ctime_ns) == (0, before.st_mtime_ns, before.st_ctime_ns)


def test_a_child_of_the_holder_goes_in_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with lock_home(Home(tmp_path), "r"):
        monkeypatch.setenv(HELD, str(tmp_path))
        with lock_home(Home(tmp_path), "r") as fresh:
            assert not fresh


def test_a_home_that_cannot_be_made_is_named_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be used.*--root"), lock_home(Home(tmp_path / "file" / "x"), "r"):
        pass


def test_what_a_killed_ui_left_is_named_and_ends_as_the_message_says(tmp_path: Path) -> None:
    sleeper = "import time; time.sleep(60)  # dagster code-server start"
    with subprocess.Popen([sys.executable, "-c", sleeper], env={**os.environ, HELD: str(tmp_path)}) as left:
        end = time.monotonic() + 30
        # a process that has just begun has no environment yet, by which it is found
        while not marked_processes(Home(tmp_path)):
            assert time.monotonic() < end
            time.sleep(0.01)
        with pytest.raises(UserError) as refused, lock_home(Home(tmp_path), "the-root", wind_down_s=0.2):
            pass
        text = str(refused.value)
        assert f"(process {left.pid}: Dagster's code server)" in text
        advice = re.search(r"`(kill [\d ]+)`", text)
        assert advice
        subprocess.run(shlex.split(advice[1]), check=True)
        with lock_home(Home(tmp_path), "the-root") as fresh:  # waits until it is gone
            assert fresh
    assert left.returncode == -signal.SIGTERM
    with lock_home(Home(tmp_path), "r"), lock_home(Home(tmp_path / "other"), "o") as fresh:
        assert fresh


def test_a_training_that_outlived_its_ui_holds_up_all_but_the_next_ui_and_ends_as_the_message_says(
    tmp_path: Path,
) -> None:
    sleeper = "import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", sleeper], env={**os.environ, TRAINING: str(tmp_path)}) as training:
        end = time.monotonic() + 30
        while not trainings_of(Home(tmp_path)):
            assert time.monotonic() < end
            time.sleep(0.01)
        assert marked_processes(Home(tmp_path)) == [], "`lampworks ui` does not end it"
        with lock_home(Home(tmp_path), "the-root", beside_trainings=True) as fresh:
            assert fresh
        with pytest.raises(UserError, match="root 'the-root' is in use by a training") as refused:  # noqa: SIM117
            with lock_home(Home(tmp_path), "the-root"):
                pass
        advice = re.search(r"`(kill \d+)`", str(refused.value))
        assert advice
        subprocess.run(shlex.split(advice[1]), check=True)
        training.wait(30)
        with lock_home(Home(tmp_path), "the-root") as fresh:
            assert fresh
