"""Names of unfinished files and scratch folders that say which process made them, so that others can be swept.

A process id alone would not do: the system gives it to another process later. So the mark also holds when the process
started, in ticks since the machine was started (a clock that is set back changes nothing), and which start of which
machine that was. A root on a shared disk has unfinished files of other machines too, which are left to `lampworks gc`,
and a home that several machines or containers share has their scratch folders: these are swept where nothing in them
changed for a week.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

from pipeline.ids import short_hash

UNFINISHED = ".tmp-"
"""What the name of an unfinished blob begins with."""
_QUIET_S = 7 * 86400.0
"""After this time without a change a scratch folder of another machine is taken to be left over."""


def unfinished_name() -> str:
    """Return a new name for a blob that this process begins to write."""
    return f"{UNFINISHED}{_machine()}-{_mark(os.getpid())}-{uuid.uuid4().hex}"


@contextmanager
def scratch_folder(parent: Path, kind: str) -> Iterator[Path]:
    """Yield a new folder of this process in `parent`, removed at the end; those of processes that are gone go first.

    Args:
        parent: where it is made, as the home's `tmp`.
        kind: what it is for, a word without hyphens.

    Raises:
        OSError: it cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for leftover in dead_scratch_folders(parent):
        shutil.rmtree(leftover, ignore_errors=True)
    folder = parent / f"{kind}-{_mark(os.getpid())}-{uuid.uuid4().hex[:8]}-{_host()}-{_boot()}-{_machine()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def dead_scratch_folders(parent: Path) -> list[Path]:
    """Return the scratch folders in `parent` whose process is gone, as far as this machine can tell."""
    found = []
    for leftover in sorted(parent.glob("*-*-*")):
        _, pid, started, _, *where = [*leftover.name.split("-"), ""]
        if pid.isdigit() and _is_dead(leftover, int(pid), started, where[:-1]):
            found.append(leftover)
    return found


def _is_dead(folder: Path, pid: int, started: str, where: list[str]) -> bool:
    """Tell whether a scratch folder is left over; `where` has the host, its start and what shares its process ids."""
    if not where or where[-1] == _machine():
        return not _lives(pid, started)
    if where[0] == _host() and where[1] != _boot():
        return True  # this host was started again since
    return time.time() - _changed_at(folder) > _QUIET_S


def _changed_at(folder: Path) -> float:
    """Return when something in a folder was changed last, in seconds since 1970."""
    times = [0.0]
    for path in (folder, *folder.rglob("*")):
        with suppress(OSError):
            times.append(path.lstat().st_mtime)
    return max(times)


def sweep_unfinished(folder: Path) -> int:
    """Delete the unfinished blobs in a folder whose process, of this machine, is gone; return their number."""
    mine = f"{UNFINISHED}{_machine()}-"
    swept = 0
    for path in folder.glob(f"{mine}*"):
        pid, started, *_ = [*path.name.removeprefix(mine).split("-"), ""]
        if pid.isdigit() and not _lives(int(pid), started):
            path.unlink(missing_ok=True)
            swept += 1
    return swept


def _mark(pid: int) -> str:
    return f"{pid}-{_started(pid)}"


def _lives(pid: int, started: str) -> bool:
    """Tell whether a process runs; one that started at another time than the mark says is another process."""
    return psutil.pid_exists(pid) and (not started.isdigit() or _started(pid) in {started, ""})


def _started(pid: int) -> str:
    """Return when a process started, in ticks since the machine did; "" where that cannot be told."""
    try:
        # the name before it may hold spaces and brackets
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


@cache
def _machine() -> str:
    """Return a short name of this start of this machine, or of this container: of what shares its process ids."""
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text()
        return short_hash(start + os.readlink("/proc/self/ns/pid"), 12)
    except OSError:
        return "unknown"


@cache
def _boot() -> str:
    """Return a short name of this start of this machine; its containers have the same."""
    try:
        return short_hash(Path("/proc/sys/kernel/random/boot_id").read_text(), 6)
    except OSError:
        return "unknown"


@cache
def _host() -> str:
    """Return a short name of this machine that stays when it is started again."""
    try:
        machine_id = Path("/etc/machine-id").read_text()
    except OSError:
        machine_id = ""
    return short_hash(machine_id + socket.gethostname(), 6)
