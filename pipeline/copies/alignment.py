"""Compare clips that are aligned in time, by what moves in them: the proof that one is a copy of another.

A clip's pictures are compared two seconds and one cell at a time. A block of a cell and two seconds counts where it
changes in either clip, and agrees where both change alike; what stands still in both proves nothing. The later clip
is compared with the whole time line of the other's video, not with the other clip alone: a copy that starts 3.2 s
later is the last 12.8 s of one clip and the first 3.2 s of the next, while two plays that begin with the same intro
differ as soon as the intro is over.

Measured on real recordings (29 games; re-encodes at other sizes, rates and qualities, mirrored, shifted, with bars,
logos, other brightness): in copies at least 0.88 of the blocks agree, weighted by how much they move, and no window
is below 0.5; other plays, of the same level too, have a window at 0.1 or below wherever as many blocks agree.

All sums are integers, and each quotient is rounded to a thousandth by the same rule, so that the verdict is the same
on every processor. Lags are in half steps: the copy's step j shows what the other shows at its half step 2 j + lag.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.copies.signature import CELLS, MIRROR
from pipeline.copies.timeline import HALF, Ints, Timeline

Bools = npt.NDArray[np.bool_]
Levels = npt.NDArray[np.int32]

WINDOW = 10
"""Steps of a window: two seconds."""
_STRIDE = WINDOW - 1  # two windows share a picture, so that a change between them is in one of them
_LEAST_MOVE = 1.5  # levels of standard deviation by which a block must change to count: above what encoders do
_MOST_MOVE = 8  # levels beyond which a block counts no more: a flash is one event, however bright
_NOISE = 0.5  # squared levels that encoders add to both
_AGREES = 600  # thousandths of concordance
_WINDOW_AGREES = 400
LEAST_SHARE = 0.85
"""Share of what moves that must agree."""
_LEAST_EVIDENCE = 18  # blocks that prove a copy: a few agree by chance, or because a cursor blinks
_LEAST_EVIDENCE_WITHIN = 36  # the same for two clips of one video, which show the same menus and the same loops
_WINDOW_EVIDENCE = 6  # blocks that one window counts for: where the whole screen flashes, that is one event
_NEAR, _NEAR_SHARE = 12, 0.8  # levels; share of the cells of two pictures that look alike (a logo may cover some)
_ALIKE = 800  # thousandths of concordance of two pictures of another brightness
_CHUNK = 1 << 12  # windows at a time: 8 MB
_SQUARE = (HALF * WINDOW) ** 2  # factor between the integer sums and squared levels


@dataclass(frozen=True)
class Proof:
    """What the comparison of each pair found."""

    agreeing: Ints
    """Weight of the blocks that agree."""
    weight: Ints
    """Weight of all blocks that move."""
    evidence: Ints
    """Blocks that move, up to six a window."""
    failed: Ints
    """Windows that contradict: several blocks move, and not alike."""
    windows: Ints
    """Windows compared."""
    alike: Ints
    """Windows whose mean pictures look alike."""

    @property
    def share(self) -> npt.NDArray[np.float64]:
        """Share of what moves that agrees, by weight; 0 where nothing moves."""
        return self.agreeing / np.maximum(1, self.weight)

    @property
    def agrees(self) -> Bools:
        """Whether something moves, and all of it alike."""
        return (self.evidence > 0) & (self.share >= LEAST_SHARE) & (self.failed == 0)

    @property
    def consistent(self) -> Bools:
        """Whether nothing contradicts a copy: the pictures look alike, and what moves agrees, if anything does.

        One window of six may fail: a flash may lie in one clip's window and beside the other's.
        """
        same_look = (self.windows > 0) & (self.alike * 10 >= self.windows * 9)
        return same_look & ((self.weight == 0) | (self.share >= LEAST_SHARE)) & (self.failed * 6 <= self.windows)


def compare(line: Timeline, first: Ints, second: Ints, lag: Ints, mirrored: Bools, *, beyond: bool = True) -> Proof:
    """Compare the second clip of each pair with the first at a lag.

    Args:
        line: the clips.
        first: the clips that would represent the second ones.
        second: the clips that may be copies.
        lag: half steps.
        mirrored: whether the second clip is compared as it looks in a mirror.
        beyond: whether the clips before and after the first one are compared too, where the second reaches into them.
    """
    parts = [_Part(np.arange(len(first)), first, lag)]
    if beyond:
        before, after = line.neighbours()
        for neighbour in (before[first], after[first]):
            there = np.flatnonzero(neighbour >= 0)
            distance = line.half_steps(line.start_ms[neighbour[there]] - line.start_ms[first[there]])
            parts.append(_Part(there, neighbour[there], lag[there] - distance))
    totals = np.zeros((6, len(first)), np.int64)
    for part in parts:
        _add_windows(totals, line, part, second, mirrored)
    return Proof(*totals)


def enough(evidence: Ints, windows: Ints, within: Bools) -> Bools:
    """Tell where enough moves to prove a copy; in a clip of two windows or less, all of them must be full of motion.

    Args:
        evidence: blocks that move, as in `Proof`.
        windows: windows compared.
        within: whether both clips are of one video.
    """
    return evidence >= np.minimum(
        np.where(within, _LEAST_EVIDENCE_WITHIN, _LEAST_EVIDENCE), np.maximum(1, windows) * _WINDOW_EVIDENCE
    )


@dataclass(frozen=True)
class _Part:
    """A part of some pairs: the pair, the clip that its second one is compared with, and the lag to it."""

    pair: Ints
    clip: Ints
    lag: Ints


def overlap(line: Timeline, first: Ints, second: Ints, lag: Ints) -> tuple[Ints, Ints]:
    """Return the second clip's first step that the first one has too, and how many it has."""
    start = (np.maximum(0, -lag) + 1) // HALF
    end = np.minimum(line.steps[second], (HALF * (line.steps[first] - 1) - lag) // HALF + 1)
    return start, np.maximum(0, end - start)


def _add_windows(totals: Ints, line: Timeline, part: _Part, second: Ints, mirrored: Bools) -> None:
    copies = second[part.pair]
    start, steps = overlap(line, part.clip, copies, part.lag)
    counts = np.maximum(0, steps - 1) // _STRIDE
    owner = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    for begin in range(0, len(owner), _CHUNK):
        chunk = slice(begin, begin + _CHUNK)
        own = owner[chunk]
        step = start[own] + number[chunk] * _STRIDE
        where = HALF * step + part.lag[own]
        original = _pictures(line, line.first[part.clip[own]] + where // HALF, where % HALF)
        copy = _pictures(line, line.first[copies[own]] + step, np.zeros_like(own))
        flipped = mirrored[part.pair[own]]
        copy[flipped] = copy[flipped][:, :, MIRROR]
        for total, values in zip(totals, _window_sums(original, copy), strict=True):
            np.add.at(total, part.pair[own], values)


def _pictures(line: Timeline, row: Ints, half: Ints) -> Levels:
    """Return windows of pictures, doubled: (N, WINDOW, CELLS); between two pictures where `half` is 1."""
    rows = row[:, None] + np.arange(WINDOW)
    return line.pictures[rows].astype(np.int32) + line.pictures[rows + half[:, None]]


def _window_sums(original: Levels, copy: Levels) -> tuple[Ints, ...]:
    """Return each window's part of the six numbers of a `Proof`."""
    sums = original.sum(axis=1), copy.sum(axis=1)
    own = WINDOW * (original * original).sum(axis=1) - sums[0] ** 2
    other = WINDOW * (copy * copy).sum(axis=1) - sums[1] ** 2
    both = WINDOW * (original * copy).sum(axis=1) - sums[0] * sums[1]
    most = np.maximum(own, other)
    moves = most >= _LEAST_MOVE**2 * _SQUARE
    weight = np.where(moves, np.floor(16 * np.minimum(_MOST_MOVE, np.sqrt(most / _SQUARE))).astype(np.int64), 0)
    concordance = np.floor(2000 * both / (own + other + _NOISE * _SQUARE)).astype(np.int64)
    agreeing = np.where(concordance >= _AGREES, weight, 0).sum(axis=1)
    total, blocks = weight.sum(axis=1), moves.sum(axis=1)
    failed = (blocks > 1) & ((weight * concordance).sum(axis=1) < _WINDOW_AGREES * total)
    alike = _look_alike(*sums)
    evidence = np.minimum(blocks, _WINDOW_EVIDENCE)
    return agreeing, total, evidence, failed.astype(np.int64), np.ones_like(total), alike.astype(np.int64)


def _look_alike(original: Ints, copy: Ints) -> Bools:
    """Tell whether mean pictures (N, CELLS; levels times 20) look alike: in most cells, or in shape where brighter."""
    near = np.abs(original - copy) <= _NEAR * HALF * WINDOW
    own = CELLS * (original * original).sum(axis=1) - original.sum(axis=1) ** 2
    other = CELLS * (copy * copy).sum(axis=1) - copy.sum(axis=1) ** 2
    both = CELLS * (original * copy).sum(axis=1) - original.sum(axis=1) * copy.sum(axis=1)
    shape = np.floor(2000 * both / np.maximum(1, own + other)).astype(np.int64)
    return (near.sum(axis=1) >= _NEAR_SHARE * CELLS) | (shape >= _ALIKE)
