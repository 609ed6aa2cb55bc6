"""Prove candidates: find the exact lag of each pair, and keep those whose motion proves a copy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.copies.alignment import Bools, compare, enough, overlap
from pipeline.copies.signature import MIRROR
from pipeline.copies.timeline import HALF, Ints, Timeline

Floats = npt.NDArray[np.float32]

_CLIPPED = 12  # levels: a cell that flashes counts no more than one in which a figure walks
_LEAST_CORRELATION = 0.2  # of the changes from step to step (copies: 0.25 up, measured)
_PAIRS = 512  # at a time: 32 MB
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
        agrees = proof.agrees & covers_half(line, tried)
        sure |= agrees & enough(proof.evidence, proof.windows, within)
        better = agrees & (share > best)
        best[better], lag[better] = share[better], tried.lag[better]
    agreeing = np.flatnonzero(best >= 0)
    agreeing = agreeing[~repeats(line, candidates.first[agreeing])]
    found = Pairs(candidates.first, candidates.second, lag, candidates.mirrored).take(agreeing)
    return found.take(sure[agreeing]), found.take(~sure[agreeing] & ~within[agreeing])


def repeats(line: Timeline, clips: Ints) -> Bools:
    """Tell which clips agree with themselves at another time: what repeats proves nothing about when it was played."""
    own, inverse = np.unique(clips, return_inverse=True)
    lag = np.zeros(len(own), np.int64)
    for begin in range(0, len(own), _PAIRS):
        lag[begin : begin + _PAIRS] = _own_lag(line, own[begin : begin + _PAIRS])
    straight = np.zeros(len(own), bool)
    agrees = compare(line, own, own, lag, straight, beyond=False).agrees & (lag > 0)
    return agrees[inverse]


def _own_lag(line: Timeline, clips: Ints) -> Ints:
    """Return the lag, of a second to half a clip, at which each clip's changes correlate best with themselves, or 0."""
    steps = line.steps[clips]
    changes = _changes(line, clips, np.zeros_like(clips), int(steps.max(initial=0)))
    squares = np.cumsum(_dots(changes, changes), axis=1)
    best, lag = np.full(len(clips), _LEAST_CORRELATION), np.zeros(len(clips), np.int64)
    for shift in range(math.ceil(_REPEATS_FROM_MS / line.step_ms), int(steps.max(initial=0)) // 2 + 1):
        both = np.einsum("ijk,ijk->i", changes[:, shift:], changes[:, :-shift])
        found = both / np.sqrt((squares[:, -1] - squares[:, shift - 1]) * squares[:, -1 - shift] + 1)
        better = (found > best) & (2 * shift <= steps)
        best[better], lag[better] = found[better], HALF * shift
    return lag


def _likely(line: Timeline, candidates: Pairs, *, either_way: bool) -> Pairs:
    """Return the candidates whose changes correlate, each at the best of three lags and of its orientations."""
    found = [
        _likely_some(
            line, candidates.take(np.arange(begin, min(begin + _PAIRS, len(candidates)))), either_way=either_way
        )
        for begin in range(0, len(candidates), _PAIRS)
    ]
    return joined(found) if found else candidates


def _likely_some(line: Timeline, candidates: Pairs, *, either_way: bool) -> Pairs:
    length = int(line.steps[candidates.second].max(initial=0))
    # the first clip's changes from a step before to a step after what the second one shows
    even = candidates.lag // HALF
    original = _changes(line, candidates.first, even - 1, length + 2)
    copy = _changes(line, candidates.second, np.zeros_like(even), length)
    own, theirs = _dots(original, original), _dots(copy, copy)
    best = np.full(len(candidates), _LEAST_CORRELATION)
    lag, mirrored = candidates.lag.copy(), candidates.mirrored.copy()
    likely = np.zeros(len(candidates), bool)
    copy[candidates.mirrored] = copy[candidates.mirrored][:, :, MIRROR]
    for turned in (False, True) if either_way else (False,):
        shown = copy[:, :, MIRROR] if turned else copy
        for shift in (0, -1, 1):
            there = slice(1 + shift, length + shift)
            both = np.einsum("ijk,ijk->i", original[:, there], shown)
            common = _inside(line, candidates.first, even + shift, length)
            found = both / np.sqrt(own[:, there].sum(axis=1) * (theirs * common).sum(axis=1) + 1)
            better = found > best
            best[better], lag[better] = found[better], HALF * (even + shift)[better]
            mirrored[better] = candidates.mirrored[better] ^ turned
            likely |= better
    return Pairs(candidates.first, candidates.second, lag, mirrored).take(likely)


def _changes(line: Timeline, clips: Ints, start: Ints, length: int) -> Floats:
    """Return what changes from step to step: (N, length - 1, CELLS), zeros beyond a clip's ends; integers, as floats.

    Args:
        line: the clips.
        clips: their numbers.
        start: each one's first step.
        length: steps.
    """
    steps = np.clip(start[:, None] + np.arange(length), 0, line.steps[clips][:, None] - 1)
    pictures = line.pictures[line.first[clips][:, None] + steps]
    changes = np.subtract(pictures[:, 1:], pictures[:, :-1], dtype=np.int16)
    return np.clip(changes, -_CLIPPED, _CLIPPED, out=changes).astype(np.float32)


def _dots(first: Floats, second: Floats) -> npt.NDArray[np.float64]:
    return np.einsum("ijk,ijk->ij", first, second).astype(np.float64)


def _inside(line: Timeline, clips: Ints, start: Ints, length: int) -> Bools:
    """Return which of the changes from a step on lie within each clip: (N, length - 1)."""
    step = start[:, None] + np.arange(length - 1)
    return (step >= 0) & (step < line.steps[clips][:, None] - 1)
