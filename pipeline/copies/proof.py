"""Prove candidates: find the exact lag of each pair, and keep those whose motion proves a copy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.copies.alignment import Bools, compare, enough, overlap
from pipeline.copies.signature import MIRROR
from pipeline.copies.timeline import HALF, Ints, Timeline

_CLIPPED = 12  # levels: a cell that flashes counts no more than one in which a figure walks
_LEAST_CORRELATION = 0.2  # of the changes from step to step (copies: 0.25 up, measured)
_ROWS = 1 << 15  # steps of pairs at a time: 12 MB
_REPEATS_FROM_MS = 1000  # a lag below it is a slow movement, not a repetition


@dataclass(frozen=True)
class Pairs:
    """Pairs of clips, the lower number first, with the second one's lag in half steps."""

    first: Ints
    second: Ints
    lag: Ints
    mirrored: Bools
    """Whether the second is a mirror image."""

    def __len__(self) -> int:
        return len(self.first)

    def take(self, chosen: Ints | Bools) -> Pairs:
        """Return some of the pairs."""
        return Pairs(self.first[chosen], self.second[chosen], self.lag[chosen], self.mirrored[chosen])


def no_pairs() -> Pairs:
    """Return no pairs."""
    return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, bool))


def joined(parts: list[Pairs]) -> Pairs:
    """Return all pairs of several lists."""
    if not parts:
        return no_pairs()
    names = ("first", "second", "lag", "mirrored")
    return Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def covers_half(line: Timeline, pairs: Pairs) -> Bools:
    """Tell for which pairs the first clip has at least half of the second one's steps."""
    _, common = overlap(line, pairs.first, pairs.second, pairs.lag)
    # two half steps are lost between whole ones
    return HALF * common + 2 >= line.steps[pairs.second]


def prove(line: Timeline, candidates: Pairs, *, either_way: bool) -> tuple[Pairs, Pairs]:
    """Return the candidates that their motion proves to be copies, and those that agree but move too little.

    Each with the lag at which it agrees best. Of two videos, the second kind may prove a copy together.

    Args:
        line: the clips.
        candidates: pairs whose lag is right to two half steps.
        either_way: whether both orientations are tried, or the given one alone.
    """
    candidates = _likely(line, candidates.take(covers_half(line, candidates)), either_way=either_way)
    best, lag = np.full(len(candidates), -1), candidates.lag.copy()
    within = line.video[candidates.first] == line.video[candidates.second]
    sure = np.zeros(len(candidates), bool)
    for step in (0, -1, 1):
        tried = Pairs(candidates.first, candidates.second, candidates.lag + step, candidates.mirrored)
        proof = compare(line, tried.first, tried.second, tried.lag, tried.mirrored)
        share = np.floor(1000 * proof.share).astype(np.int64)
        better = proof.agrees & covers_half(line, tried) & (share > best)
        best[better], lag[better] = share[better], tried.lag[better]
        sure[better] = enough(proof.evidence, proof.windows, within)[better]
    agreeing = np.flatnonzero(best >= 0)
    agreeing = agreeing[~repeats(line, candidates.first[agreeing])]
    found = Pairs(candidates.first, candidates.second, lag, candidates.mirrored).take(agreeing)
    return found.take(sure[agreeing]), found.take(~sure[agreeing] & ~within[agreeing])


def repeats(line: Timeline, clips: Ints) -> Bools:
    """Tell which clips agree with themselves at another time: what repeats proves nothing about when it was played."""
    own, inverse = np.unique(clips, return_inverse=True)
    longest = int(line.steps[own].max(initial=0)) // 2
    best, lag = np.full(len(own), _LEAST_CORRELATION), np.zeros(len(own), np.int64)
    straight = np.zeros(len(own), bool)
    for steps in range(math.ceil(_REPEATS_FROM_MS / line.step_ms), longest + 1):
        found = _correlation(line, Pairs(own, own, np.full(len(own), HALF * steps), straight))
        better = (found > best) & (2 * steps <= line.steps[own])
        best[better], lag[better] = found[better], HALF * steps
    agrees = compare(line, own, own, lag, straight, beyond=False).agrees & (lag > 0)
    return agrees[inverse]


def _likely(line: Timeline, candidates: Pairs, *, either_way: bool) -> Pairs:
    """Return the candidates whose changes correlate, each at the best of three lags and of its orientations."""
    best = np.full(len(candidates), _LEAST_CORRELATION)
    lag, mirrored = candidates.lag.copy(), candidates.mirrored.copy()
    likely = np.zeros(len(candidates), bool)
    for turned in (False, True) if either_way else (False,):
        for step in (0, -HALF, HALF):
            # whole steps: what changes between them is compared
            even = candidates.lag // HALF * HALF + step
            tried = Pairs(candidates.first, candidates.second, even, candidates.mirrored ^ turned)
            found = _correlation(line, tried)
            better = found > best
            best[better], lag[better], mirrored[better] = found[better], even[better], tried.mirrored[better]
            likely |= better
    return Pairs(candidates.first, candidates.second, lag, mirrored).take(likely)


def _correlation(line: Timeline, pairs: Pairs) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return how the changes from step to step correlate, for pairs at lags of whole steps: -1 to 1."""
    start, steps = overlap(line, pairs.first, pairs.second, pairs.lag)
    steps = np.maximum(0, steps - 1)
    found = np.zeros(len(pairs))
    ends = np.cumsum(steps)
    for begin, end in _chunks(ends):
        part = slice(begin, end)
        counts = steps[part]
        owner = np.repeat(np.arange(end - begin), counts)
        offset = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        row = line.first[pairs.second[part]] + start[part]
        other = line.first[pairs.first[part]] + start[part] + pairs.lag[part] // HALF
        copy, original = _changes(line, row[owner] + offset), _changes(line, other[owner] + offset)
        turned = pairs.mirrored[part][owner]
        copy[turned] = copy[turned][:, MIRROR]
        products = [(one * two).sum(axis=1) for one, two in ((original, copy), (original, original), (copy, copy))]
        both, own, theirs = (np.bincount(owner, product, end - begin) for product in products)
        found[part] = both / np.sqrt(own * theirs + 1)
    return found


def _chunks(ends: Ints) -> list[tuple[int, int]]:
    """Return ranges of pairs of about `_ROWS` steps each."""
    marks = np.searchsorted(ends, np.arange(_ROWS, (int(ends[-1]) if len(ends) else 0) + _ROWS, _ROWS), "left")
    edges = np.unique(np.minimum([0, *(marks + 1).tolist(), len(ends)], len(ends)))
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _changes(line: Timeline, rows: Ints) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    after, before = line.pictures[rows + 1].astype(np.int32), line.pictures[rows].astype(np.int32)
    return np.clip(after - before, -_CLIPPED, _CLIPPED)
