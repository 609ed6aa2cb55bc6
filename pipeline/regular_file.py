"""Open and read the files that a person names or that lie beside videos: regular files only, up to a limit.

A name may also belong to a pipe, whose reader waits for ever, to a device, which has no end, to a socket or a folder.

    text = read_regular("cookies.txt", 8 << 20).decode("utf-8")
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISDIR, "a folder"),
)


class OddFileError(OSError):
    """A name that belongs to no regular file, or to one that is too large; `strerror` says which."""


def what_it_is(mode: int) -> str:
    """Return what a file of this mode is, where it is no regular one; "" where it is."""
    if stat.S_ISREG(mode):
        return ""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "no file")


def open_regular(path: str | Path) -> BinaryIO:
    """Return a regular file, opened for reading; a link is followed.

    Raises:
        OddFileError: it is a pipe, a device, a socket or a folder. None of them is opened, or waited for.
        OSError: it is missing, or may not be read.
    """
    _refuse_odd(_mode_of(path))
    # without O_NONBLOCK, a pipe that took the name meanwhile would be waited for
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _refuse_odd(os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | Path, limit: int) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        OddFileError: it is no regular file, holds more than `limit` bytes (no more than that are read), or is a file of
            the system whose reader would wait.
        OSError: it is missing, or cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data: bytes | None = file.read(limit + 1) if size <= limit else b""
    if data is None:  # /proc/kmsg and its like call themselves regular
        raise OddFileError(errno.EAGAIN, "it has nothing to read now, and its reader would wait")
    if size > limit or len(data) > limit:
        raise too_large(size, limit)
    return data


def too_large(size: int, limit: int) -> OddFileError:
    """Return the error of a file of `size` bytes, of which at most `limit` are read."""
    found = f"it has {size >> 20} MB" if size > limit else "it has no end"
    return OddFileError(errno.EFBIG, f"{found}, and at most {limit >> 20} MB are read")


def _mode_of(path: str | Path) -> int:
    return os.stat(path).st_mode


def _refuse_odd(mode: int) -> None:
    if odd := what_it_is(mode):
        raise OddFileError(errno.EINVAL, f"it is {odd}, not a regular file")
