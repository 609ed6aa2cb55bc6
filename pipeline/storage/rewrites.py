"""Reads and writes of a table beside a takedown, which deletes its old files and the log before its present version.

Who opened the table before that finds files gone that are not missing. A read that meets this is made again, on the
present version: only an error that comes while nobody changes the log says something of the table. In a folder those
who commit share a lock, and a takedown waits until it has the lock alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from deltalake.exceptions import DeltaError

from pipeline.errors import StoreError, UserError

PATIENCE_S = 60.0
_GONE = re.compile(
    r"not found|no such file|no longer exists|invalid table version|failed to fetch metadata|\b404\b|is gone",
    re.IGNORECASE,
)
# some network file systems have no locks, or none on a folder
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF})
Made = TypeVar("Made")


def steadily(work: Callable[[], Made], state: Callable[[], object], forget: Callable[[], None] = lambda: None) -> Made:
    """Return what `work` returns; where it finds files gone while the log changes, call it again.

    Args:
        work: opens a table and reads it. Errors that do not say that a file is gone pass.
        state: returns the state of the table's log; only called after an error.
        forget: called before `work` is called again, so that it opens the table anew.

    Raises:
        Exception: the error of `work`, where the log stayed as it was meanwhile, or after a minute.
    """
    try:
        return work()
    except (DeltaError, pa.ArrowException, OSError, UserError) as exc:
        if not says_gone(exc):
            raise
    give_up = time.monotonic() + PATIENCE_S
    while True:
        before = state()
        forget()
        try:
            return work()
        except (DeltaError, pa.ArrowException, OSError, UserError) as exc:
            if not says_gone(exc) or state() == before or time.monotonic() > give_up:
                raise


def says_gone(exc: BaseException) -> bool:
    """Tell whether an error of a table says that one of its files is not there."""
    return isinstance(exc, FileNotFoundError) or _GONE.search(str(exc)) is not None


def rewritten(root: str, name: str) -> StoreError:
    """Return the error of a read or a write that a takedown made impossible in its middle."""
    return StoreError(
        f"store {root}: table {name!r} was rewritten by a takedown while it was in use. Nothing is damaged: run the "
        "same command again."
    )


def names_in_log(folder: Path) -> frozenset[str]:
    """Return the names of the files in a log; none where there is none."""
    try:
        return frozenset(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def versions_in_log(folder: Path) -> list[int]:
    """Return the versions of a table whose commits are in its log."""
    return [int(name[:-5]) for name in names_in_log(folder) if name.endswith(".json") and name[:-5].isdigit()]


def files_of_log(folder: Path) -> frozenset[tuple[str, int, int, int, int]]:
    """Return what changes with every file of a log that comes, goes or is written over; nothing where there is none.

    Returns:
        Of each file: name, inode, size in bytes, times of the last change of its bytes and of itself in ns.
    """
    found = set()
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # a takedown or a writer took it away meanwhile
                about = entry.stat()
                found.add((entry.name, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns))
    return frozenset(found)


@contextmanager
def locked(folder: Path, *, alone: bool) -> Iterator[None]:
    """Hold the lock of a table's folder, with others who write to it or alone; no lock where the disk has none.

    The kernel takes it away when the process ends.
    """
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        except OSError as exc:
            if exc.errno not in _NO_LOCKS:
                raise
        yield
    finally:
        # also where a process that was forked meanwhile still has the folder open
        try:
            fcntl.flock(place, fcntl.LOCK_UN)
        except OSError as exc:
            if exc.errno not in _NO_LOCKS:
                raise
        finally:
            os.close(place)
