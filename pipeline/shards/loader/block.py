"""A block of an epoch: its clips, where their windows may start, and the order of these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.clips.samples import BAD_SAMPLE
from pipeline.errors import PermanentError
from pipeline.shards.loader.clips import Clip, ClipSet
from pipeline.shards.loader.local import ClipReader
from pipeline.shards.loader.order import BlockOrder, Ints, OrderSettings, order_block
from pipeline.shards.loader.starts import Starts, free_starts


@dataclass(frozen=True)
class Block:
    """The clips of a few tars, and the order of their windows."""

    epoch: int
    number: int
    clips: list[Clip]
    starts: list[Starts]
    order: BlockOrder
    bad: dict[str, str]
    """Clips that cannot be used, as far as that was seen: id -> reason."""
    short: int
    """Clips that are shorter than a window."""
    cut: int
    """Clips that hold no window without a scene cut."""

    @cached_property
    def _tables(self) -> tuple[Ints, Ints]:
        shape = (len(self.order.lanes), self.order.steps)
        visits, windows = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        for number, visit in enumerate(self.order.visits):
            visits[visit.lane, visit.steps] = number
            windows[visit.lane, visit.steps] = np.arange(len(visit.steps))
        return visits, windows

    def at(self, lane: int, step: int) -> tuple[int, int]:
        """Return which visit a lane has at a step, and which window of it."""
        visits, windows = self._tables
        return int(visits[lane, step]), int(windows[lane, step])

    def candidates(self, visit: int) -> Iterator[int]:
        """Yield the clips for a visit: its own, then those of its lane, then all others of the block.

        Those of its lane are in no other window of a batch.
        """
        lane = self.order.lanes[self.order.visits[visit].lane]
        place = lane.index(visit)
        neighbours = [self.order.visits[number].clip for number in (*lane[place:], *lane[:place])]
        seen: set[int] = set()
        for clip in (*neighbours, *(other.clip for other in self.order.visits)):
            if clip not in seen:
                seen.add(clip)
                yield clip


def read_block(
    clips: ClipSet, groups: Sequence[int], reader: ClipReader, settings: OrderSettings, epoch: int, number: int
) -> Block:
    """Read the indexes of a block's tars and order its windows.

    Args:
        clips: the set.
        groups: of the block.
        reader: tells the length of clips whose index does not.
        settings: of the order.
        epoch: number of the epoch.
        number: of the block in it.
    """
    found = sorted((clip for group in groups for clip in clips.read(group)), key=lambda clip: clip.clip_id)
    starts, bad, short, cut = [], {}, 0, 0
    for clip in found:
        try:
            frames = reader.num_frames(clip)
        except PermanentError as exc:
            if exc.error_class != BAD_SAMPLE:
                raise
            bad[clip.clip_id] = str(exc)
            starts.append(Starts((), (), 0))
            continue
        own = free_starts(frames, clip.cuts, settings.window, settings.stride)
        short += frames < settings.window
        cut += frames >= settings.window and not own.total
        starts.append(own)
    return Block(epoch, number, found, starts, order_block(starts, settings, epoch, number), bad, short, cut)
