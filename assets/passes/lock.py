"""One driver per root: `run`, `demo` and `ui` hold a lock on the root's home while they live.

The lock is the kernel's (flock): it ends with its process, however that ends, and taking it changes no byte and no
date of the file, so that a pass with nothing to do leaves every file as it was.

`ui` starts other processes, which may live a moment longer, or for ever where they were cut off from it. They inherit
a mark in their environment, and as long as one of them lives the root is in use. Trainings have another mark: they are
meant to outlive `ui`, and the next `ui` takes no offence at them.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from pipeline.errors import UserError
from pipeline.storage.home import Home

# set for the children of a process that holds the lock: its driver runs inside one of them
HELD = "LAMPWORKS_LOCK_HELD"
# set for trainings that `ui` started and that go on without it (`assets.passes.training_runs`)
TRAINING = "LAMPWORKS_TRAINING_OF"
# what stands in the command lines of the processes of `lampworks ui`
_PARTS = {
    "run_daemon": "Dagster's daemon",
    "serve_pages": "Dagster's pages",
    "code-server": "Dagster's code server",
    "api grpc": "Dagster's code server",
    "spawn_main": "a run",
    "pipeline.workers": "a worker of a run",
}
WIND_DOWN_S = 20.0
"""How long the processes of a killed `lampworks ui` are waited for: they end by themselves in half of it."""


@contextmanager
def lock_home(
    home: Home, root: str, wind_down_s: float = WIND_DOWN_S, *, beside_trainings: bool = False
) -> Iterator[bool]:
    """Hold the home's lock; yields False where a parent process holds it already, and nothing is taken.

    Args:
        home: of the root.
        root: as messages name it.
        wind_down_s: how long to wait for the processes of a `lampworks ui` that was killed.
        beside_trainings: whether trainings that an earlier `lampworks ui` started may be at work.

    Raises:
        UserError: another process holds it, or what a killed one started still lives (the pids are named); or the home
            cannot be written.
    """
    if os.environ.get(HELD) == str(home.folder):
        yield False
        return
    try:
        home.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as exc:
        raise UserError(
            f"root {root!r} cannot be used: {exc.strerror or exc} ({exc.filename}). Choose another with --root, or "
            "free space and give this user write access."
        ) from exc
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = holder_of(home.lock)
            who = f"process {holder}" if holder else "another process"
            raise UserError(
                f"root {root!r} is in use by {who} (a `lampworks run`, `demo` or `ui`): wait for it, stop it"
                f"{f' with `kill {holder}`' if holder else ''}, or choose another --root."
            ) from exc
        _wait_for_survivors(home, root, wind_down_s)
        if not beside_trainings:
            _refuse_beside_trainings(home, root)
        yield True
    finally:
        os.close(descriptor)


def _wait_for_survivors(home: Home, root: str, wind_down_s: float) -> None:
    """Wait until the processes of a killed `lampworks ui` are gone; UserError names those that stay."""
    end = time.monotonic() + wind_down_s
    while survivors := marked_processes(home):
        if time.monotonic() > end:
            pids = " ".join(str(process.pid) for process in survivors)
            told = "; ".join(f"process {process.pid}: {_described(process)}" for process in survivors[:5])
            raise UserError(
                f"root {root!r} is in use by what a `lampworks ui` started that was killed ({told}). End it with "
                f"`kill {pids}` (`kill -9 {pids}` where that does not help), or choose another --root."
            )
        time.sleep(0.1)


def _refuse_beside_trainings(home: Home, root: str) -> None:
    """Raise a UserError where a training goes on without the `lampworks ui` that started it."""
    if trainings := trainings_of(home):
        pid = trainings[0].pid
        raise UserError(
            f"root {root!r} is in use by a training (process {pid}), which goes on without the `lampworks ui` that "
            f"started it. Wait for it; or end it, which saves its state first: with `kill {pid}`, or in `lampworks ui` "
            "(Runs, Terminate); or choose another --root."
        )


def trainings_of(home: Home) -> list[psutil.Process]:
    """Return the processes of runs that train, without those that they started; the oldest first."""
    found = marked_processes(home, TRAINING)
    pids = {process.pid for process in found}
    leaders = []
    for process in found:
        with suppress(psutil.Error):
            if process.ppid() not in pids:
                leaders.append(process)
    return leaders


def marked_processes(home: Home, mark: str = HELD) -> list[psutil.Process]:
    """Return the processes that a `lampworks ui` on a home started and that live, without this one; oldest first."""
    found = []
    for process in psutil.process_iter():
        # other users' processes show no environment, and one that ends meanwhile shows nothing
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(mark) == str(home.folder):
                found.append(process)
    return sorted(found, key=lambda process: process.pid)


def _described(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        command = shlex.join(process.cmdline())
        known = [name for part, name in _PARTS.items() if part in command]
        return known[0] if known else command[:100]
    return "ended meanwhile"


def holder_of(path: Path) -> int | None:
    """Return the pid that holds a file's lock, as far as this system tells."""
    try:
        inode = path.stat().st_ino
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if fields[1:2] == ["FLOCK"] and fields[5].endswith(f":{inode}"):
            return int(fields[4]) or None
    return None
