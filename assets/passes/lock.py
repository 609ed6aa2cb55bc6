"""One driver per root: `run`, `demo` and `ui` hold a lock on the root's home while they live.

The lock is the kernel's (flock): it ends with its process, however that ends, and taking it changes no byte and no
date of the file, so that a pass with nothing to do leaves every file as it was.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import UserError
from pipeline.storage.home import Home

# set for the children of a process that holds the lock: its driver runs inside one of them
HELD = "LAMPWORKS_LOCK_HELD"


@contextmanager
def lock_home(home: Home, root: str) -> Iterator[bool]:
    """Hold the home's lock; yields False where a parent process holds it already, and nothing is taken.

    Raises:
        UserError: another process holds it (its pid is named), or the home cannot be written.
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
        yield True
    finally:
        os.close(descriptor)


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
