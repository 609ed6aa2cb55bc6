"""Follow a proven copy along its video: the clips beside it are copies at the same offset, unless they contradict.

Where one clip of a video was proven to be a copy, its neighbours in time are the best candidates that there are. They
need no proof of their own: a menu in which nothing moves, between two clips that are copies, is a copy too.
"""

from __future__ import annotations

import numpy as np

from pipeline.copies.alignment import Bools, compare, enough
from pipeline.copies.proof import Pairs, covers_half, joined, no_pairs
from pipeline.copies.timeline import HALF, Ints, Timeline

_DAY_MS = 1 << 40  # more than any video lasts
_CHUNK = 1 << 14  # offsets at a time


def follow(line: Timeline, proven: Pairs, weak: Pairs) -> Pairs:
    """Return the pairs beside proven and weak ones that nothing contradicts.

    Args:
        line: the clips.
        proven: pairs whose motion proves them.
        weak: pairs of two videos that agree but move too little. All clips of their videos that overlap at the same
            offset must agree with them, and all together move enough.
    """
    offsets = _offsets(line, joined([proven, weak]))
    trusted = np.isin(_offset_keys(offsets), _offset_keys(_offsets(line, proven)))
    order = np.lexsort((line.start_ms, line.video))
    found = [no_pairs()]
    for start in range(0, len(offsets), _CHUNK):
        pairs, owner = _beside(line, offsets[start : start + _CHUNK], order)
        kept, lag, evidence, windows = _best(line, pairs, radius=1)
        count = len(offsets[start : start + _CHUNK])
        total, compared = (np.bincount(owner, part, count).astype(np.int64) for part in (evidence, windows))
        contradicted = np.bincount(owner, ~kept, count) > 0
        together = enough(total, compared, np.zeros(count, bool)) & ~contradicted
        good = trusted[start : start + _CHUNK] | together
        found.append(Pairs(pairs.first, pairs.second, lag, pairs.mirrored).take(kept & good[owner]))
    return unique(line, joined(found))


def consistent(line: Timeline, candidates: Pairs, *, radius: int) -> Pairs:
    """Return the candidates that nothing contradicts, each at the best lag within some half steps of the given one."""
    kept, lag, _, _ = _best(line, candidates, radius=radius)
    return Pairs(candidates.first, candidates.second, lag, candidates.mirrored).take(kept)


def _best(line: Timeline, candidates: Pairs, *, radius: int) -> tuple[Bools, Ints, Ints, Ints]:
    """Return which candidates nothing contradicts, at which lag, and the blocks that move and windows compared there.

    Both are 0 for a candidate that is contradicted.
    """
    best, lag = np.full(len(candidates), -1 << 30), candidates.lag.copy()
    evidence, windows = np.zeros(len(candidates), np.int64), np.zeros(len(candidates), np.int64)
    for step in sorted(range(-radius, radius + 1), key=abs):
        tried = Pairs(candidates.first, candidates.second, candidates.lag + step, candidates.mirrored)
        proof = compare(line, tried.first, tried.second, tried.lag, tried.mirrored)
        share = np.floor(1000 * proof.share).astype(np.int64) - 200 * proof.failed
        better = proof.consistent & covers_half(line, tried) & (share > best)
        best[better], lag[better] = share[better], tried.lag[better]
        evidence[better], windows[better] = proof.evidence[better], proof.windows[better]
    return best > -1 << 30, lag, evidence, windows


def pair_keys(line: Timeline, pairs: Pairs) -> Ints:
    """Return one number for each pair's two clips."""
    return pairs.first * len(line.first) + pairs.second


def unique(line: Timeline, pairs: Pairs) -> Pairs:
    """Return each two clips once: at the first of their lags."""
    _, first = np.unique(pair_keys(line, pairs), return_index=True)
    return pairs.take(first)


def _offsets(line: Timeline, proven: Pairs) -> Ints:
    """Return at what offsets videos are copies of others, as rows (video, copy's video, mirrored, ms), each once."""
    ms = line.start_ms[proven.first] + line.in_ms(proven.lag) - line.start_ms[proven.second]
    # offsets that differ by less than a step or two are one, measured at several clips
    coarse = np.floor_divide(ms, round(2 * line.step_ms))
    rows = np.stack([line.video[proven.first], line.video[proven.second], proven.mirrored, coarse], axis=1)
    _, chosen = np.unique(rows, axis=0, return_index=True)
    return np.stack([rows[chosen, 0], rows[chosen, 1], rows[chosen, 2], ms[chosen]], axis=1)


def _offset_keys(offsets: Ints) -> Ints:
    """Return offsets (N, 4) as rows of equal videos, orientation and time, for comparison as wholes."""
    return np.ascontiguousarray(offsets).view([("", offsets.dtype)] * offsets.shape[1]).ravel()


def _beside(line: Timeline, offsets: Ints, order: Ints) -> tuple[Pairs, Ints]:
    """Return for every clip of the copies' videos the clip that has most of it at the offset, and which offset."""
    places = line.video[order] * _DAY_MS + line.start_ms[order]
    begin, end = (np.searchsorted(line.video[order], offsets[:, 1], side) for side in ("left", "right"))
    counts = end - begin
    owner = np.repeat(np.arange(len(offsets)), counts)
    copy = order[begin[owner] + np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)]
    target = line.start_ms[copy] + offsets[owner, 3]
    # the first clip that starts at most half a clip before: of two that share half of it, the earlier
    half_ms = np.floor(line.steps[copy] * line.step_ms / 2).astype(np.int64)
    place = np.searchsorted(places, offsets[owner, 0] * _DAY_MS + np.maximum(0, target - half_ms))
    there = place < len(order)
    original = order[np.minimum(place, len(order) - 1)]
    there &= (line.video[original] == offsets[owner, 0]) & (original != copy)
    lag = line.half_steps(target - line.start_ms[original])
    swapped = original > copy
    pairs = Pairs(
        np.where(swapped, copy, original),
        np.where(swapped, original, copy),
        np.where(swapped, -lag, lag),
        offsets[owner, 2].astype(bool),
    )
    there &= np.abs(lag) <= HALF * line.steps[copy]
    there[there] = covers_half(line, pairs.take(there))
    return pairs.take(there), owner[there]
