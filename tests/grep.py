"""Look for texts and bytes in every file of a root and a home, through Parquet, tar and SQLite."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def find_bytes(folder: Path, needles: Iterable[bytes], *, but: Iterable[str] = ()) -> list[str]:
    """Return `file: needle` for each needle that a file of a folder holds, in its name or anywhere inside.

    Args:
        folder: looked through with all that is in it.
        needles: texts and media, as bytes.
        but: folders that are left out.
    """
    wanted, left_out = list(needles), {folder / name for name in but}
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and left_out.isdisjoint(path.parents):
            parts = [str(path.relative_to(folder)).encode(), *_contents(path.name, path.read_bytes(), path)]
            found += [f"{path.relative_to(folder)}: {needle[:60]!r}" for needle in wanted if _in(needle, parts)]
    return found


def found_in(folder: Path, needles: Iterable[bytes]) -> set[bytes]:
    """Return those of the needles that a file of a folder holds."""
    wanted, found = set(needles), set[bytes]()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and found < wanted:
            parts = [str(path.relative_to(folder)).encode(), *_contents(path.name, path.read_bytes(), path)]
            found |= {needle for needle in wanted - found if _in(needle, parts)}
    return found


def _in(needle: bytes, parts: list[bytes]) -> bool:
    return any(needle in part for part in parts)


def _contents(name: str, data: bytes, path: Path | None = None) -> Iterator[bytes]:
    """Yield the bytes of a file, and those of what is packed in it."""
    yield data
    if name.endswith(".parquet"):
        file = pq.ParquetFile(io.BytesIO(data))
        yield str(file.metadata.to_dict()).encode()
        yield str(file.schema_arrow.metadata).encode()
        for column in file.read().columns:
            yield from _values(column)
    elif name.endswith(".tar"):
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                yield member.name.encode()
    elif path is not None and data.startswith(b"SQLite format 3\0"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            yield "\n".join(database.iterdump()).encode()


def _values(column: pa.ChunkedArray) -> Iterator[bytes]:
    values = column.to_pylist()
    yield str(values).encode()
    yield from (value for value in values if isinstance(value, bytes))


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a folder, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
