"""Checksums of a table's files, written beside the table as they are committed, so that damage is told later.

Delta itself has none: a flipped byte of a log file may leave a table that opens well and says something else.
`tables/<name>/_checksums` (Delta readers skip such a name) has a line per file: SHA-256, size, path, and a CRC of the
line. `_checksums` of the root has a line per blob that no row names: reports, queues, receipts, what a training run is.
`lampworks doctor --deep` compares them. An object store checks its own bytes: there are none on one.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from urllib.parse import unquote

from pipeline.storage.owner import unfinished_name

NAME = "_checksums"
LOG = "_delta_log"
_TAIL_BYTES = 1 << 16
_LAST_BYTES = 1 << 11
_COMMITS_BACK = 16
# some network file systems
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


@dataclass(frozen=True)
class Checksum:
    """What a file was when it was committed."""

    size: int
    sha256: str


def record_commits(folder: Path) -> None:
    """Append the checksums of the newest commit's files, and of the commits just before it that have none yet.

    (Another writer may have been killed between its commit and its checksums.)

    Args:
        folder: of the table.
    """
    version = max((int(path.stem) for path in folder.glob(f"{LOG}/*.json") if path.stem.isdigit()), default=-1)
    known = _read(folder, _TAIL_BYTES)
    names: list[str] = []
    for number in range(version, max(-1, version - _COMMITS_BACK), -1):
        log = f"{LOG}/{number:020d}.json"
        if log in known or not (folder / log).exists():
            break
        names += [log, f"{LOG}/{number:020d}.checkpoint.parquet", *_added(folder / log)]
    add_checksums(folder, [name for name in names if name not in known])


def add_checksums(folder: Path, names: Iterable[str]) -> None:
    """Append the checksums of files of a table, as far as they are there and not what was written of them last."""
    known = _read(folder, _TAIL_BYTES)
    lines = "".join(
        _line(name, found)
        for name in names
        if (found := checksum_of(folder / name)) is not None and known.get(name) != found
    )
    if lines:
        _append(folder, lines)


def expect_checksum(folder: Path, name: str, coming: Path) -> None:
    """Append the checksum of a file that is about to take a name, so that it is never there without its line.

    Where its writer is killed before the rename, the old file stays: its own checksum is kept. One without any is
    given one, because it would be compared with the new line from now on.

    Args:
        folder: whose `_checksums` holds the line.
        name: path in the folder that the file will have.
        coming: where it lies now.

    Raises:
        OSError: there is no room for the line; the file must not take the name then.
    """
    new = checksum_of(coming)
    assert new is not None
    known = {checksum for one, checksum in _lines(folder, None) if one == name}
    old = None if known else checksum_of(folder / name)
    missing = dict.fromkeys(checksum for checksum in (old, new) if checksum is not None and checksum not in known)
    if missing:
        _append(folder, "".join(_line(name, checksum) for checksum in missing))


def forget_gone(folder: Path) -> None:
    """Take away the lines of files that are not there any more.

    The line of a file that is about to appear may go with them: a file without a line is not compared.
    """
    with _locked(folder) as file:
        lines = _lines(folder, None)
        kept = [(name, checksum) for name, checksum in lines if (folder / name).exists()]
        if file is not None and len(kept) != len(lines):
            temporary = folder / unfinished_name()
            temporary.write_bytes("".join(_line(name, checksum) for name, checksum in dict.fromkeys(kept)).encode())
            temporary.replace(folder / NAME)


def read_checksums(folder: Path) -> dict[str, Checksum]:
    """Return the checksums of a table's files by their path in its folder; a line that is damaged counts as absent."""
    return _read(folder, None)


def all_checksums(folder: Path) -> dict[str, set[Checksum]]:
    """Return every checksum that was written of each file: of a file that is written again, that of each time."""
    found: dict[str, set[Checksum]] = {}
    for name, checksum in _lines(folder, None):
        found.setdefault(name, set()).add(checksum)
    return found


def last_checksums(folder: Path) -> dict[str, Checksum]:
    """Return the last few checksums that were written: what every reader can afford to compare."""
    return _read(folder, _LAST_BYTES)


def checksum_of(path: Path) -> Checksum | None:
    """Return the checksum of a file as it is now; None where there is none."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return Checksum(file.tell(), digest)
    except FileNotFoundError:
        return None


def _append(folder: Path, lines: str) -> None:
    with _locked(folder, create=True) as file:
        assert file is not None
        end = file.seek(0, os.SEEK_END)
        # a line that found no room in full spoils no other
        torn = end > 0 and os.pread(file.fileno(), 1, end - 1) != b"\n"
        # a single write in append mode: the lines of two writers do not mix, also where there are no locks
        data = (b"\n" if torn else b"") + lines.encode()
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / NAME))


@contextmanager
def _locked(folder: Path, *, create: bool = False) -> Iterator[FileIO | None]:
    """Yield the file of checksums while no other process writes or replaces it; None where there is none."""
    while True:
        try:
            file = FileIO(folder / NAME, "a+" if create else "r+")
        except FileNotFoundError:
            if create:
                raise
            yield None
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as exc:
                if exc.errno not in _NO_LOCKS:
                    raise
            # it may have been replaced while this process waited for it
            if _is_still(folder / NAME, file):
                yield file
                return


def _is_still(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _read(folder: Path, tail: int | None) -> dict[str, Checksum]:
    return dict(_lines(folder, tail))


def _lines(folder: Path, tail: int | None) -> list[tuple[str, Checksum]]:
    try:
        with (folder / NAME).open("rb") as file:
            if tail is not None:
                file.seek(max(0, os.fstat(file.fileno()).st_size - tail))
            data = file.read()
    except FileNotFoundError:
        return []
    return list(_parsed(data))


def _parsed(data: bytes) -> Iterator[tuple[str, Checksum]]:
    for line in data.split(b"\n"):
        text, _, crc = line.rpartition(b" ")
        parts = text.split(b" ", 2)
        if len(parts) == 3 and crc == f"{zlib.crc32(text):08x}".encode():
            yield parts[2].decode(), Checksum(int(parts[1]), parts[0].decode())


def _line(name: str, checksum: Checksum) -> str:
    text = f"{checksum.sha256} {checksum.size} {name}"
    return f"{text} {zlib.crc32(text.encode()):08x}\n"


def _added(log: Path) -> list[str]:
    """Return the paths of the data files that a commit added."""
    try:
        actions = [json.loads(line) for line in log.read_bytes().split(b"\n") if line.strip()]
    except ValueError:
        return []  # damaged since: its own checksum tells, where it has one
    return [unquote(str(action["add"]["path"])) for action in actions if "add" in action]
