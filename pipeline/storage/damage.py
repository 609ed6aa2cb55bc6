"""Tell which file of a table is damaged: cut short, changed, swapped or gone since it was committed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.exceptions import CommitFailedError, DeltaError

from pipeline.errors import StoreError, UserError
from pipeline.storage.checksums import LOG, Checksum, checksum_of, last_checksums, read_checksums
from pipeline.storage.s3_problems import problem_of_table, sentence

ADVICE = "restore it from a copy, or run `lampworks doctor --deep --mend`, which sets it aside and says what is lost"
_NAMED = 3
_OF_THE_SYSTEM = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EMFILE, errno.ENFILE,
)  # fmt: skip


class DamagedError(UserError):
    """A file of the store is not what its row or its commit says; the message names it and the fix."""


class Damage(NamedTuple):
    """A file of a table that is not what was committed."""

    path: str
    """In the table's folder."""
    why: str


def table_damage(folder: Path) -> list[Damage]:
    """Return the files of a table that are not what was committed, by path; reads all of them.

    A file without a checksum (written by an older lampworks) counts as damaged where Parquet cannot be read.
    """
    known = read_checksums(folder)
    found: dict[str, str] = {}
    for name, checksum in known.items():
        present = checksum_of(folder / name)
        if (present is not None and present != checksum) or (present is None and _is_needed(folder, name)):
            found[name] = _difference(present, checksum)
    for path in [*folder.glob("*.parquet"), *folder.glob(f"{LOG}/*.parquet")]:
        name = path.relative_to(folder).as_posix()
        if name not in known and (why := _unreadable(path)):
            found[name] = why
    return [Damage(path, why) for path, why in sorted(found.items())]


def check_newest_commits(root: str, name: str, folder: Path) -> None:
    """Raise DamagedError where one of the newest log files is not what was committed.

    Delta takes a table without its newest log for the older version, an empty log for a commit without rows, and
    believes every statistic that a log gives. The newest logs are small, and every reader depends on them.

    Args:
        root: of the store, for the message.
        name: of the table.
        folder: of the table.
    """
    for path, known in last_checksums(folder).items():
        if path.endswith(".json"):
            found = checksum_of(folder / path)
            if found != known and (found is not None or _is_needed(folder, path)):
                raise _error(root, name, [Damage(path, _difference(found, known))])


@contextmanager
def telling_damage(root: str, name: str, folder: Path | None, *, opening: bool = False) -> Iterator[None]:
    """Turn the error of a damaged table into one that names the file and the fix; others pass.

    Args:
        root: of the store.
        name: of the table.
        folder: of the table; None on an object store.
        opening: whether the log is read: an error of Delta then means that the log is damaged.
    """
    try:
        yield
    except (DeltaError, pa.ArrowException, OSError, UnicodeDecodeError) as exc:
        if folder is None:
            raise_trouble(root, name, exc)
            raise
        if isinstance(exc, CommitFailedError) or _is_the_systems(exc):
            raise
        found = table_damage(folder)
        if not found and isinstance(exc, FileNotFoundError):
            found = [Damage(f"{path.name}", "is gone") for path in [_path_in(exc, folder)] if path is not None]
        if not found and opening:
            found = [Damage(f"{LOG}/", f"cannot be read ({str(exc).splitlines()[0][:200]})")]
        if not found:
            raise
        raise _error(root, name, found) from exc


def raise_trouble(root: str, name: str, exc: BaseException) -> None:
    """Raise StoreError where an error of delta-rs says that the store refuses, or does not answer."""
    problem = problem_of_table(exc)
    if problem is not None and not problem.missing:
        # without the error of the client, which repeats the store's answer
        text = sentence(root, None, f"reading or writing table {name!r}", problem)
        raise StoreError(text, passing=problem.passing) from None


def raise_damage(root: str, name: str, folder: Path) -> None:
    """Raise DamagedError where a file of a table is damaged."""
    if found := table_damage(folder):
        raise _error(root, name, found)


def stranger_columns(root: str, name: str, path: str, columns: set[str]) -> DamagedError:
    """Return the error of a file with columns that its table does not have: one of the two is damaged."""
    return _error(root, name, [Damage(path, f"has a column {min(columns)!r}, and the table's log does not")])


def _error(root: str, name: str, found: list[Damage]) -> DamagedError:
    told = "; ".join(f"{root}/tables/{name}/{damage.path} {damage.why}" for damage in found[:_NAMED])
    rest = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return DamagedError(f"table {name!r} is damaged: {told}{rest}. To go on, {ADVICE}.")


def _difference(found: Checksum | None, known: Checksum) -> str:
    if found is None:
        return "is gone"
    return f"has {found.size} bytes instead of {known.size}" if found.size != known.size else "has other bytes"


def _is_needed(folder: Path, name: str) -> bool:
    """Tell whether a file that is gone is missing.

    Data files that no version needs are deleted, and so are logs once a checkpoint holds what they say.
    """
    if not (name.startswith(LOG) and name.endswith(".json")):
        return False
    checkpoints = [path.name.partition(".")[0] for path in (folder / LOG).glob("*.checkpoint*.parquet")]
    return all(Path(name).stem > checkpoint for checkpoint in checkpoints)


def _unreadable(path: Path) -> str:
    try:
        with pq.ParquetFile(path) as file:
            for _ in file.iter_batches(1 << 16):
                pass
    except (OSError, pa.ArrowException, UnicodeDecodeError) as exc:
        return f"cannot be read ({str(exc).splitlines()[0][:200]})"
    return ""


def _is_the_systems(exc: Exception) -> bool:
    """Tell whether an error says something of the machine (a full disk, no permission) and nothing of the table."""
    if isinstance(exc, FileNotFoundError):
        return False
    if isinstance(exc, OSError) and exc.errno:
        return exc.errno != errno.EIO
    return any(os.strerror(number) in str(exc) for number in _OF_THE_SYSTEM)


def _path_in(exc: FileNotFoundError, folder: Path) -> Path | None:
    """Return the file of a table that an error of Arrow names."""
    words = str(exc).replace("'", " ").split()
    return next((Path(word) for word in words if word.startswith(str(folder)) and word.endswith(".parquet")), None)
