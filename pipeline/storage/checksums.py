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
        with _locked(folder) as file:
            assert file is not None
            _append(file, folder, lines)


@contextmanager
def expected_checksum(folder: Path, name: str, coming: Path) -> Iterator[None]:
    """Append the checksum of a file that takes a name within the block, so that it is never there without its line.

    Where its writer is killed before the rename, the old file stays: its own checksum is kept. One without any is
    given one, because it would be compared with the new line from now on. Nobody takes lines away within the block.

    Args:
        folder: whose `_checksums` holds the line.
        name: path in the folder that the file gets in the block.
        coming: where it lies now.

    Raises:
        OSError: there is no room for the line; the file must not take the name then.
    """
    new = checksum_of(coming)
    assert new is not None
    with _locked(folder) as file:
        assert file is not None
        # a new name needs no look at the lines, which are read in full where there is none of it
        newest = _newest(file, name) if (folder / name).exists() else None
        old = checksum_of(folder / name) if newest is None else None
        missing = dict.fromkeys(checksum for checksum in (old, new) if checksum not in {None, newest})
        if missing:
            _append(file, folder, "".join(_line(name, checksum) for checksum in missing if checksum is not None))
        yield


def forget_gone(folder: Path) -> None:
    """Take away the lines of files that are not there any more, and of what was written over.

    Of each file, the line of what it is now stays, and the newest line. Nothing is taken away on a file system without
    locks: another process may be about to rename a file whose line would go. A line of a file that is gone accuses
    nothing.
    """
    with _locked(folder, to_replace=True) as file:
        if file is None:
            return
        lines = _lines(folder, None)
        each: dict[str, list[Checksum]] = {}
        for name, checksum in lines:
            each.setdefault(name, []).append(checksum)
        kept = [
            _line(name, checksum) for name, checksums in each.items() for checksum in _needed(folder / name, checksums)
        ]
        if len(kept) != len(lines):
            temporary = folder / unfinished_name()
            temporary.write_bytes("".join(kept).encode())
            temporary.replace(folder / NAME)


def _needed(path: Path, checksums: list[Checksum]) -> list[Checksum]:
    """Return which checksums of a file, oldest first, it can still be compared with; [] of one that is gone."""
    newest = checksums[-1]
    if len(set(checksums)) == 1:
        return [newest] if path.exists() else []
    now = checksum_of(path)
    if now is None:
        return []
    # the newest may be of a writer that was killed before its rename
    return [now, newest] if now in checksums and now != newest else [newest]


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


def _append(file: FileIO, folder: Path, lines: str) -> None:
    """Append lines to the locked file of checksums."""
    end = file.seek(0, os.SEEK_END)
    # a line that found no room in full spoils no other
    torn = end > 0 and os.pread(file.fileno(), 1, end - 1) != b"\n"
    # a single write in append mode: the lines of two writers do not mix, also where there are no locks
    data = (b"\n" if torn else b"") + lines.encode()
    if file.write(data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / NAME))


@contextmanager
def _locked(folder: Path, *, to_replace: bool = False) -> Iterator[FileIO | None]:
    """Yield the file of checksums while no other process writes or replaces it.

    It is created where there is none. With `to_replace`, None is yielded there, and on a file system without locks.
    """
    while True:
        try:
            file = FileIO(folder / NAME, "r+" if to_replace else "a+")
        except FileNotFoundError:
            if not to_replace:
                raise
            yield None
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as exc:
                if exc.errno not in _NO_LOCKS:
                    raise
                if to_replace:
                    yield None
                    return
            # it may have been replaced while this process waited for it
            if _is_still(folder / NAME, file):
                yield file
                return


def _newest(file: FileIO, name: str) -> Checksum | None:
    """Return the newest checksum of a name, reading from the end only until its line is found."""
    wanted, begun = name.encode(), b""
    end = os.fstat(file.fileno()).st_size
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        data = os.pread(file.fileno(), end - start, start) + begun
        # the first line of a block may have begun in the block before
        begun, _, whole = data.partition(b"\n") if start > 0 else (b"", b"", data)
        for line in reversed(whole.split(b"\n")):
            found = dict(_parsed(line)) if wanted in line else {}
            if name in found:
                return found[name]
        end = start
    return None


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
