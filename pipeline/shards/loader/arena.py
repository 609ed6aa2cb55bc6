"""Frames in memory that this process and its workers share: windows of one size, in numbered slots.

The memory has no name in a file system, so nothing is left behind by a process that is killed. It grows by segments as
more slots are in use at a time.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from math import prod

import numpy as np

from pipeline.shards.loader.clips import Video

_SEGMENT_BYTES = 16 << 20


class Slots:
    """Shared memory as one process sees it."""

    def __init__(self, fd: int, shape: tuple[int, ...]) -> None:
        """Map the memory of a file; `shape` is that of a slot."""
        self.fd, self.shape = fd, shape
        self.slot_bytes = prod(shape)
        self.per_segment = max(1, _SEGMENT_BYTES // self.slot_bytes)
        page = mmap.ALLOCATIONGRANULARITY
        self.segment_bytes = -(-self.per_segment * self.slot_bytes // page) * page
        self._maps: dict[int, mmap.mmap] = {}

    def view(self, slot: int) -> Video:
        """Return the frames of a slot, uint8 of the slot's shape."""
        segment, place = divmod(slot, self.per_segment)
        if segment not in self._maps:
            self._maps[segment] = mmap.mmap(self.fd, self.segment_bytes, offset=segment * self.segment_bytes)
        whole = np.frombuffer(self._maps[segment], np.uint8)
        return whole[place * self.slot_bytes : (place + 1) * self.slot_bytes].reshape(self.shape)


class Arena(Slots):
    """The owner of the shared memory: gives slots out and takes them back."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Make the memory, empty."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("lampworks-windows")
        else:  # no Linux: a file without a name
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        super().__init__(fd, shape)
        self._free: list[int] = []
        self.num_slots = 0

    def take(self, count: int) -> list[int]:
        """Return the numbers of free slots."""
        while len(self._free) < count:
            grown = range(self.num_slots, self.num_slots + self.per_segment)
            self.num_slots += self.per_segment
            os.ftruncate(self.fd, self.num_slots // self.per_segment * self.segment_bytes)
            # the last one is given out first: slots that were never used take no memory
            self._free = [*reversed(grown), *self._free]
        return [self._free.pop() for _ in range(count)]

    def give_back(self, slots: list[int]) -> None:
        """Free slots; their frames may be overwritten."""
        self._free += slots

    def close(self) -> None:
        """Close the file; memory that views still show stays until they are gone."""
        os.close(self.fd)
