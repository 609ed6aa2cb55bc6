"""Names of unfinished files and scratch folders that say which process made them, so that others can be swept.

A process id alone would not do: the system gives it to another process later. So the mark also holds when the process
started, in ticks since the machine was started (a clock that is set back changes nothing), and which start of which
machine that was. A root on a shared disk has unfinished files of other machines too, which are left to `lampworks gc`.

A home that several machines or containers share has their scratch folders, whose process ids say nothing here. So each
folder has a file that its process locks, and the kernel takes the lock away when the process ends, however it ends. On
one kernel the lock says who lives, in whatever container. Where it says nothing, as on a disk that another kernel has
mounted, a folder is swept once nothing in it changed for a week.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

import psutil

from pipeline.ids import short_hash

UNFINISHED = ".tmp-"
"""What the name of an unfinished blob begins with."""
LOCK = ".held"
"""The file of a scratch folder that its process locks; it has a byte from then on."""
_QUIET_S = 7 * 86400.0
"""After this time without a change a scratch folder of another machine is taken to be left over."""
_RESTARTED_QUIET_S = 86400.0
"""The same for one that has the name of this machine: another start of it, or another machine of the same name."""
_FIRST_PID_NAMESPACE = "pid:[4026531836]"
"""The process ids of a machine itself, by the kernel's own fixed number; a container has others."""


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
    sweep_scratch(parent)
    folder = parent / f"{kind}-{_mark(os.getpid())}-{uuid.uuid4().hex[:8]}-{_host()}-{_boot()}-{_machine()}"
    folder.mkdir()
    try:
        with (folder / LOCK).open("wb", buffering=0) as file:
            _lock(file)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_scratch(parent: Path) -> int:
    """Delete the scratch folders in `parent` whose process is gone; return their number."""
    leftovers = dead_scratch_folders(parent)
    for leftover in leftovers:
        shutil.rmtree(leftover, ignore_errors=True)
    return len(leftovers)


def dead_scratch_folders(parent: Path) -> list[Path]:
    """Return the scratch folders in `parent` whose process is gone, as far as this machine can tell."""
    found = []
    for leftover in sorted(parent.glob("*-*-*")):
        _, pid, started, _, *where = [*leftover.name.split("-"), ""]
        if pid.isdigit() and _is_dead(leftover, int(pid), started, where[:-1]):
            found.append(leftover)
    return found


def files_below(folder: Path) -> Iterator[Path]:
    """Yield what lies below a folder and is no folder; what others delete meanwhile is left out.

    `Path.rglob` raises where a folder ends while it is looked through.
    """
    for place, _, names in os.walk(folder):
        for name in names:
            yield Path(place, name)


def _is_dead(folder: Path, pid: int, started: str, where: list[str]) -> bool:
    """Tell whether a scratch folder is left over; `where` has the host, its start and what shares its process ids."""
    if not where or where[-1] == _machine():
        return not _lives(pid, started)
    host, boot, *_ = where
    held = _is_held(folder)
    if held:
        return False
    if boot == _boot() and held is not None:
        return True  # of a container of this kernel
    if host == _host() and boot != _boot():
        # without a name that no other machine has, a restart cannot be told from another machine
        return _has_own_name() or _is_quiet(folder, _RESTARTED_QUIET_S)
    return _is_quiet(folder, _QUIET_S)


def _lock(file: BinaryIO) -> None:
    """Lock a file for as long as this process has it open; where the disk has no locks it stays empty."""
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b"x")  # only now: an empty file may be one that is about to be locked


def _is_held(folder: Path) -> bool | None:
    """Tell whether a process has locked a scratch folder; None where it never was, as by an older version."""
    with suppress(OSError), (folder / LOCK).open("rb") as file:
        if not file.read(1):
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
    return None


def _is_quiet(folder: Path, seconds: float) -> bool:
    """Tell whether nothing in a folder changed for some time."""
    changed = 0.0
    for place, _, names in os.walk(folder):
        for path in (place, *(os.path.join(place, name) for name in names)):
            with suppress(OSError):
                changed = max(changed, os.lstat(path).st_mtime)
    return time.time() - changed > seconds


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
    return short_hash(_machine_id() + socket.gethostname(), 6)


@cache
def _has_own_name() -> bool:
    """Tell whether no other machine has the name that `_host` returns: containers may have that of their image."""
    try:
        in_container = os.readlink("/proc/self/ns/pid") != _FIRST_PID_NAMESPACE
    except OSError:
        in_container = True
    marks = (Path("/.dockerenv"), Path("/run/.containerenv"))
    in_container = in_container or any(mark.exists() for mark in marks)
    return not in_container and re.fullmatch(r"[0-9a-f]{32}\n?", _machine_id()) is not None


def _machine_id() -> str:
    try:
        return Path("/etc/machine-id").read_text()
    except (OSError, ValueError):
        return ""
