"""Tell whether a file of a folder is still being written, so that it is pending and not failed.

A recorder or a copy in progress shows by a file that changes while it is read, or by a container that is not finished
yet although it changed a moment ago. Both are tried again once the file has been at rest for `source.settle_s`. A
container that is unfinished and at rest is what its recorder left behind: it fails, with what to do.

    original = Original.of(path, settle_s=60)
    ...                                  # read it
    original.require_rest()              # RetryableError where it changed meanwhile
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import RetryableError
from pipeline.sources.faults import UNFINISHED

_LOOK_S = 1.0
"""A file that changed within this time before the first look is looked at again this long after it."""
_MOST_BOXES = 10_000
_BOXES = {b"ftyp", b"mdat", b"wide", b"free", b"skip", b"pnot", b"uuid", b"styp", b"moov", b"moof", b"sidx"}


def file_moment(about: os.stat_result) -> datetime:
    """Return when a file was changed, in whole microseconds, as a table holds it; years that no clock has are cut."""
    microseconds = min(max(about.st_mtime_ns // 1000, -(10**15)), 10**17)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


@dataclass(frozen=True)
class Original:
    """A file of a folder as it was before it was read."""

    path: Path
    size_bytes: int
    modified_at: datetime
    looked_at: datetime
    settle_s: float
    """Seconds without a change after which a file is at rest."""

    @classmethod
    def of(cls, path: Path, settle_s: float) -> Original:
        """Look at a file; OSError where it is gone."""
        about = path.stat()
        return cls(path, about.st_size, file_moment(about), datetime.now(UTC), settle_s)

    def require_rest(self) -> None:
        """Raise where the file changed since it was looked at, or still changes.

        Raises:
            RetryableError: class `unfinished`.
        """
        age_s = (self.looked_at - self.modified_at).total_seconds()
        if self.settle_s and 0 <= age_s < _LOOK_S:
            time.sleep(max(0.0, _LOOK_S - (datetime.now(UTC) - self.looked_at).total_seconds()))
        if self.has_changed():
            raise self._still_written("it changed while it was read")

    def has_changed(self) -> bool:
        """Tell whether the file is another now, or gone."""
        try:
            about = self.path.stat()
        except OSError:
            return True
        return (about.st_size, file_moment(about)) != (self.size_bytes, self.modified_at)

    def require_finished(self, copy: Path) -> None:
        """Raise where a file that cannot be read is still being written: it changes, or has no end yet.

        Args:
            copy: what was read of it.

        Raises:
            RetryableError: class `unfinished`.
        """
        self.require_rest()
        # a time ahead of this clock by more than that is no sign of a change
        age_s = abs((datetime.now(UTC) - self.modified_at).total_seconds())
        if age_s < self.settle_s and (what := unfinished_container(copy)):
            raise self._still_written(what)

    def _still_written(self, what: str) -> RetryableError:
        try:
            last = file_moment(self.path.stat())
        except OSError:
            last = self.modified_at
        now = datetime.now(UTC)
        wait_s = max(1.0, self.settle_s - max(0.0, (now - last).total_seconds()))
        return RetryableError(
            f"it is still being written ({what}): it is tried again after {now + timedelta(seconds=wait_s):%H:%M:%S} "
            f"UTC, once it has not changed for source.settle_s = {self.settle_s:g} s",
            error_class=UNFINISHED,
            retry_after_s=wait_s,
        )


def unfinished_container(path: Path) -> str:
    """Return what is missing of a container whose end is not written yet; "" where nothing is, or none is known.

    MP4 and QuickTime: their index (moov), or bytes that a box announces. AVI and Matroska: bytes that their header
    announces.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
        if head.startswith((b"RIFF", b"\x1a\x45\xdf\xa3")):
            end = 8 + int.from_bytes(head[4:8], "little") if head.startswith(b"RIFF") else _end_of_segment(head)
            return "its header announces more bytes than there are" if end > size else ""
        return _unfinished_boxes(file, size)


def _end_of_segment(head: bytes) -> int:
    """Return where a Matroska file ends by its header; 0 where that does not say so, as that of a live stream."""
    place = 4
    for is_segment in (False, True):
        if is_segment and head[place : place + 4] != b"\x18\x53\x80\x67":
            return 0
        place += 4 * is_segment
        width = 9 - head[place].bit_length() if place < len(head) else 9
        value = int.from_bytes(head[place : place + width]) & ((1 << 7 * width) - 1)
        if width > 8 or value == (1 << 7 * width) - 1:  # unknown length
            return 0
        place += width + value
    return place


def _unfinished_boxes(file: BinaryIO, size: int) -> str:
    place, has_index = 0, False
    for _ in range(_MOST_BOXES):
        file.seek(place)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4]), header[4:8]
        if not place and kind not in _BOXES:
            return ""
        has_index |= kind in {b"moov", b"moof"}
        if length == 1:  # the real length follows
            length = int.from_bytes(header[8:16])
        if length < 8:  # 0: up to the end of the file
            break
        place += length
        if place >= size:
            break
    if not has_index:
        return "its index (moov) is not written yet"
    return "a box of it announces more bytes than there are" if place > size else ""
