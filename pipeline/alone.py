"""One process at a time in a folder that recordings are written into: two would write the same unfinished files."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import UserError


@contextmanager
def alone_in(folder: Path, option: str) -> Iterator[None]:
    """Make a folder, and hold it while the block records into it; the kernel lets go of it when the process ends.

    On a file system without locks, one process at a time is up to the user.

    Args:
        folder: of the recordings.
        option: what names another folder, for the message.

    Raises:
        UserError: another process records into it, or it cannot be made or opened.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{folder} cannot be used ({error}): name another {option}") from error
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another process records into {folder}: wait until it has ended, or name another {option}"
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(held)
