"""The order of windows: one for the whole training, whatever the number of workers or ranks.

An epoch is a seeded permutation of the tars, a few of which make a block. The clips of a block are permuted and dealt
to the lanes of a batch, one lane per window: step t takes window t of every lane, and a rank takes its own lanes. So a
clip is decoded once in an epoch, by one rank, and never occurs twice in a batch where a block has as many clips as a
batch has windows. In a lane, the windows of neighbouring clips are mixed, so that about `mixed_clips` clips are in use
at a time. A clip gives as many windows as fit into it side by side (or `windows_per_clip`), each at a random place of
its own part of the clip.

Shapes: L lanes, T steps.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from pipeline.shards.loader.starts import Starts

Ints = npt.NDArray[np.int32]
_BLOCK_PER_LANE = 8
_TARS, _SUBSTITUTE = 1, 2


@dataclass(frozen=True, kw_only=True)
class OrderSettings:
    """What the order of windows follows from, beside the clips."""

    seed: int
    stream: int = 0
    """Separates trainings that share a seed."""
    batch: int
    """Windows of a step, over all ranks."""
    window: int
    """Frames of a window."""
    windows_per_clip: int = 0
    """Of a clip in an epoch; 0: as many as fit side by side."""
    mixed_clips: int = 64
    """Clips whose windows are mixed at a time."""
    shuffle_clips: int = 4096
    """Clips of a block, whose order is random."""
    stride: int = 1
    """Frames of a shot from one place where a window may begin to the next."""

    def about(self) -> dict[str, int]:
        """Return the settings as JSON; a stride of 1 is left out, as checkpoints had none before there was one."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("stride", 1)}


@dataclass(frozen=True)
class Visit:
    """A clip whose turn has come: the windows that are taken of it."""

    clip: int
    """Index in the block."""
    lane: int
    starts: tuple[int, ...]
    """First frame of each window."""
    steps: tuple[int, ...]
    """The step in which each is needed, rising."""


@dataclass(frozen=True)
class BlockOrder:
    """The order of a block's windows."""

    visits: list[Visit]
    """In the order in which they are first needed."""
    steps: int
    lanes: list[list[int]]
    """By lane, its visits in the order of the permutation."""


def blocks_of_epoch(counts: Sequence[int], settings: OrderSettings, epoch: int) -> list[list[int]]:
    """Return the groups (tars) of each block of an epoch, in order.

    Args:
        counts: clips of each group.
        settings: of the order.
        epoch: number of the epoch.
    """
    rng = np.random.default_rng((settings.seed, settings.stream, epoch, _TARS))
    least = max(settings.shuffle_clips, _BLOCK_PER_LANE * settings.batch)
    blocks: list[list[int]] = [[]]
    held = 0
    for group in rng.permutation(len(counts)).tolist():
        if held >= least:
            blocks.append([])
            held = 0
        blocks[-1].append(group)
        held += counts[group]
    # a small rest would be mixed badly
    if len(blocks) > 1 and held < least // 2:
        rest = blocks.pop()
        blocks[-1] += rest
    return blocks


def order_block(starts: Sequence[Starts], settings: OrderSettings, epoch: int, block: int) -> BlockOrder:
    """Return the order of the windows of a block; no steps where no clip holds a window.

    Args:
        starts: of each clip of the block.
        settings: of the order.
        epoch: number of the epoch.
        block: number of the block in it.
    """
    rng = np.random.default_rng((settings.seed, settings.stream, epoch, 0, block))
    usable = np.array([index for index, own in enumerate(starts) if own.total], np.int64)
    if not len(usable):
        return BlockOrder([], 0, [[] for _ in range(settings.batch)])
    dealt = rng.permutation(usable).tolist()
    # fewer clips than lanes: clips are visited several times
    while len(dealt) < settings.batch:
        dealt += rng.permutation(usable).tolist()
    mixed = max(1.0, settings.mixed_clips / settings.batch)
    lanes = [_Lane(number) for number in range(settings.batch)]
    fill = [(0, number) for number in range(settings.batch)]
    for clip in dealt:
        length, number = fill[0]
        own = starts[clip]
        count = min(settings.windows_per_clip or own.apart, own.total)
        lanes[number].add(clip, own.draw(count, rng), mixed, rng)
        heapq.heapreplace(fill, (length + count, number))
    steps = max(length for length, _ in fill)
    visits: list[Visit] = []
    members = []
    for lane in lanes:
        own_visits = lane.visits(steps, starts, rng)
        members.append(list(range(len(visits), len(visits) + len(own_visits))))
        visits += own_visits
    first = np.argsort([visit.steps[0] for visit in visits], kind="stable").tolist()
    place = {old: new for new, old in enumerate(first)}
    return BlockOrder(
        [visits[old] for old in first], steps, [[place[old] for old in lane_visits] for lane_visits in members]
    )


def substitute_starts(
    starts: Starts, count: int, settings: OrderSettings, epoch: int, block: int, visit: int
) -> list[int]:
    """Return as many starts in the clip that takes the place of one that cannot be used."""
    rng = np.random.default_rng((settings.seed, settings.stream, epoch, _SUBSTITUTE, block, visit))
    return starts.draw(count, rng)


def lanes_of(rank: int, ranks: int, batch: int) -> range:
    """Return the lanes of a rank: parts of the batch that differ by one window at most."""
    return range(rank * batch // ranks, (rank + 1) * batch // ranks)


class _Lane:
    """One window of every step: clips that follow each other, with their windows mixed."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._clips: list[int] = []
        self._starts: list[list[int]] = []
        self._keys: list[npt.NDArray[np.float64]] = []

    def add(self, clip: int, starts: list[int], mixed: float, rng: np.random.Generator) -> None:
        self._keys.append(len(self._clips) + mixed * rng.random(len(starts)))
        self._clips.append(clip)
        self._starts.append(starts)

    def visits(self, steps: int, starts: Sequence[Starts], rng: np.random.Generator) -> list[Visit]:
        """Return its visits; a lane that is shorter than the longest takes more windows of its last clips."""
        missing = steps - sum(map(len, self._starts))
        for back in range(missing):
            last = len(self._clips) - 1 - back % min(len(self._clips), 4)
            self._starts[last] = [*self._starts[last], *starts[self._clips[last]].draw(1, rng)]
            self._keys[last] = np.append(self._keys[last], len(self._clips) + rng.random())
        order = np.argsort(np.concatenate(self._keys), kind="stable")
        step_of = np.empty(len(order), np.int64)
        step_of[order] = np.arange(len(order))
        found, begin = [], 0
        for clip, own_starts in zip(self._clips, self._starts, strict=True):
            own_steps = step_of[begin : begin + len(own_starts)]
            begin += len(own_starts)
            turn = np.argsort(own_steps).tolist()
            sorted_steps = tuple(int(own_steps[index]) for index in turn)
            found.append(Visit(clip, self.number, tuple(own_starts[index] for index in turn), sorted_steps))
        return found
