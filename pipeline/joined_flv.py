"""Read files in parts: FLV files that were put together byte by byte, as `cat a.flv b.flv` and some recorders do.

Each of the files inside begins with a header of its own, behind which libav finds nothing any more: what follows would
be lost without a word. A header has 13 bytes, 12 of which are the same in every file, so it is known wherever it is.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

_HEADER = re.compile(rb"FLV\x01[\x00-\x05]\x00\x00\x00\x09\x00\x00\x00\x00")
_LENGTH = 13
_PART = 1 << 22
_MOST = 100_000
"""Headers that are left out, at most."""


def inner_headers(path: Path) -> list[int]:
    """Return where headers lie inside an FLV file, after its own; none for any other file."""
    with path.open("rb") as file:
        if file.read(4) != b"FLV\x01":
            return []
        found = [place for place in _places(path) if place > 0]
    return found[:_MOST]


def _places(path: Path) -> Iterator[int]:
    place, kept = 0, b""
    with path.open("rb") as file:
        while part := file.read(_PART):
            data = kept + part
            yield from (place - len(kept) + match.start() for match in _HEADER.finditer(data))
            place += len(part)
            # a header that the end of a part cuts in two is whole with the next one
            kept = data[-(_LENGTH - 1) :]


def without_headers(path: Path, headers: list[int]) -> FileParts:
    """Return a file without the headers inside."""
    starts = [0, *(header + _LENGTH for header in headers)]
    return FileParts(path, starts, [*headers, path.stat().st_size])


class FileParts:
    """Parts of a file, one after the other, as PyAV reads a file."""

    def __init__(self, path: Path, starts: list[int], ends: list[int]) -> None:
        self.name = str(path)
        self._file = path.open("rb")
        self._starts = starts
        lengths = (end - start for start, end in zip(starts, ends, strict=True))
        self._ends = list(accumulate(lengths))
        """Where each part ends in what is read."""
        self._place = 0

    def __del__(self) -> None:
        self._file.close()

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = 0) -> int:
        base = {0: 0, 1: self._place, 2: self._ends[-1]}[whence]
        self._place = max(0, base + offset)
        return self._place

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, across headers; fewer at the end."""
        left = self._ends[-1] - self._place if size < 0 else min(size, self._ends[-1] - self._place)
        found = []
        part = bisect_right(self._ends, self._place)
        while left > 0 and part < len(self._ends):
            before = self._ends[part - 1] if part else 0
            self._file.seek(self._starts[part] + self._place - before)
            data = self._file.read(min(left, self._ends[part] - self._place))
            if not data:
                break  # the file became shorter
            found.append(data)
            self._place += len(data)
            left -= len(data)
            part = bisect_right(self._ends, self._place)
        return b"".join(found)
