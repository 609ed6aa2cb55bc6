"""Find the copies among all clips: candidates by look and by landmarks, proven by motion, followed, and grouped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.copies.alignment import Bools, compare
from pipeline.copies.follow import consistent, follow, pair_keys, unique
from pipeline.copies.groups import components, stars
from pipeline.copies.landmarks import LEAST_LIKENESS, Landmarks, likeness
from pipeline.copies.look import Looks
from pipeline.copies.orders import adjacent, min_hash_keys
from pipeline.copies.proof import Pairs, joined, prove
from pipeline.copies.timeline import HALF, Ints, Timeline

LOOK_ORDERS, LANDMARK_ORDERS = 12, 4
STEPS = LOOK_ORDERS + LANDMARK_ORDERS + 2
"""Times that `on_step` is called."""
Alike = tuple[Ints, Ints, Bools]
"""Pairs of clips that look alike, the lower number first, and whether they do so as mirror images."""
_MOST_TRIES = 16  # look-alikes of one clip that are compared: where hundreds look alike, landmarks find the copies


@dataclass(frozen=True)
class Found:
    """What was found of each clip."""

    representative: Ints
    """The clip that stands for it: itself, unless it is a copy."""
    lag: Ints
    """Half steps by which it starts later than its representative."""
    mirrored: Bools
    """Whether it is a mirror image of its representative."""
    disagreement: Ints
    """Percent of what moves that does not agree with the representative."""
    similar_to: Ints
    """The earliest clip that it looks like without being its copy; itself where there is none."""
    proven: int
    """Pairs that their motion proved."""
    tried: int
    """Pairs that were compared."""


def own_buckets(looks: Looks, clips: Ints) -> Iterator[Alike]:
    """Yield the pairs of clips that look alike and stand close, for each of the orders, computed in this process."""
    return (looks.alike_pairs(clips, seed) for seed in range(LOOK_ORDERS))


def find_copies(
    line: Timeline,
    looks: Looks,
    marks: Landmarks,
    equal: tuple[Ints, Ints],
    min_texture: float,
    on_step: Callable[[], None] = lambda: None,
    buckets: Callable[[Looks, Ints], Iterable[Alike]] = own_buckets,
) -> Found:
    """Find the copies among all clips.

    Args:
        line: their signatures.
        looks: their hashes.
        marks: their landmarks.
        equal: pairs of clips of equal bytes, which need no proof; the lower number first.
        min_texture: places of 64 that must show a difference for a clip to look like others.
        on_step: called `STEPS` times.
        buckets: gives the pairs of textured clips that look alike, one order after the other.
    """
    size = len(line.first)
    zero = np.zeros(len(equal[0]), np.int64)
    search = _Search(line, looks.mirrored, [Pairs(*equal, zero, zero.astype(bool))])
    alike = np.arange(size)
    textured = np.flatnonzero(looks.texture() >= min_texture)
    for first, second, flipped in buckets(looks, textured):
        alike = components(size, first, second, alike)
        search.try_looks(first, second, flipped)
        on_step()
    for seed in range(LANDMARK_ORDERS):
        search.try_landmarks(marks, seed)
        on_step()
    search.proven.append(follow(line, joined(search.proven), joined(search.weak)))
    on_step()
    grouped = _grouped(line, unique(line, joined(search.proven)))
    similar_to = stars(alike, lambda own, centre: looks.alike(centre, own)[0])
    similar_to = _other_groups(similar_to, grouped[0])
    on_step()
    return Found(*grouped, similar_to, len(joined(search.proven)), search.tried)


class _Search:
    """The pairs that were proven, and what was tried so far."""

    def __init__(self, line: Timeline, mirrored: bool, proven: list[Pairs]) -> None:
        self.line, self.mirrored, self.proven = line, mirrored, proven
        self.weak: list[Pairs] = []
        self.tried = 0
        self._root = components(len(line.first), proven[0].first, proven[0].second)
        self._tries = np.zeros(len(line.first), np.int64)
        self._seen = np.empty(0, np.int64)

    def try_looks(self, first: Ints, second: Ints, flipped: Bools) -> None:
        """Try pairs that look alike: they show the same at the same time, if they are copies."""
        pairs = unique(self.line, Pairs(first, second, np.zeros_like(first), flipped))
        few = np.minimum(self._tries[pairs.first], self._tries[pairs.second]) < _MOST_TRIES
        keys = pair_keys(self.line, pairs)
        pairs = pairs.take(few & ~np.isin(keys, self._seen, assume_unique=True))
        self._seen = np.concatenate([self._seen, pair_keys(self.line, pairs)])
        np.add.at(self._tries, pairs.first, 1)
        np.add.at(self._tries, pairs.second, 1)
        self._prove(pairs, either_way=False)

    def try_landmarks(self, marks: Landmarks, seed: int) -> None:
        """Try pairs of clips whose landmarks are alike, at the lag that these give."""
        found = []
        for one, other in adjacent(min_hash_keys(marks.code, seed)):
            near = marks.clip[one] != marks.clip[other]
            one, other = one[near], other[near]
            near = likeness(marks.code[one], marks.code[other]) >= LEAST_LIKENESS
            one, other = one[near], other[near]
            first, second = marks.clip[one].astype(np.int64), marks.clip[other].astype(np.int64)
            lag = HALF * (marks.step[one].astype(np.int64) - marks.step[other])
            swapped = first > second
            first, second = np.where(swapped, second, first), np.where(swapped, first, second)
            found.append(Pairs(first, second, np.where(swapped, -lag, lag), np.zeros(len(first), bool)))
        pairs = joined(found)
        rows = np.stack([pair_keys(self.line, pairs), pairs.lag], axis=1)
        _, chosen = np.unique(rows, axis=0, return_index=True)
        self._prove(pairs.take(chosen), either_way=self.mirrored)

    def _prove(self, pairs: Pairs, *, either_way: bool) -> None:
        # two copies of one clip need no proof of each other: their group compares them once
        pairs = pairs.take(self._root[pairs.first] != self._root[pairs.second])
        self.tried += len(pairs)
        proven, weak = (unique(self.line, found) for found in prove(self.line, pairs, either_way=either_way))
        self.weak.append(weak)
        self._root = components(len(self._root), proven.first, proven.second, self._root)
        self.proven.append(proven)


def _grouped(line: Timeline, pairs: Pairs) -> tuple[Ints, Ints, Bools, Ints]:
    """Return each clip's representative, and its lag, orientation and disagreement."""
    size = len(line.first)
    component = components(size, pairs.first, pairs.second)
    place, turned = _places(pairs, component)
    lag, mirrored = np.zeros(size, np.int64), np.zeros(size, bool)
    keys = pair_keys(line, pairs)
    order = np.argsort(keys)

    def belongs(own: Ints, centre: Ints) -> Bools:
        there = np.zeros(len(own), bool)
        if len(keys):
            at = order[np.minimum(np.searchsorted(keys[order], centre * size + own), len(keys) - 1)]
            there = keys[at] == centre * size + own
            lag[own[there]], mirrored[own[there]] = pairs.lag[at[there]], pairs.mirrored[at[there]]
        rest = own[~there & (own != centre)]
        middle = centre[~there & (own != centre)]
        guess = Pairs(middle, rest, place[rest] - place[middle], turned[rest] ^ turned[middle])
        kept = consistent(line, guess, radius=HALF)
        lag[kept.second], mirrored[kept.second] = kept.lag, kept.mirrored
        return there | np.isin(own, kept.second)

    centre = stars(component, belongs)
    copies = np.flatnonzero(centre != np.arange(size))
    disagreement = np.zeros(size, np.int64)
    proof = compare(line, centre[copies], copies, lag[copies], mirrored[copies])
    disagreement[copies] = 100 * (proof.weight - proof.agreeing) // np.maximum(1, proof.weight)
    return centre, lag, mirrored, disagreement


def _places(pairs: Pairs, component: Ints) -> tuple[Ints, Bools]:
    """Return each clip's place on its component's time line, in half steps, and whether it is mirrored there."""
    size = len(component)
    place, turned = np.zeros(size, np.int64), np.zeros(size, bool)
    known = component == np.arange(size)
    first, second = np.concatenate([pairs.first, pairs.second]), np.concatenate([pairs.second, pairs.first])
    lag, mirrored = np.concatenate([pairs.lag, -pairs.lag]), np.concatenate([pairs.mirrored, pairs.mirrored])
    while True:
        new = np.flatnonzero(known[first] & ~known[second])
        if not len(new):
            return place, turned
        # the first way to a clip counts, so that the result does not depend on anything but the pairs
        _, chosen = np.unique(second[new], return_index=True)
        new = new[chosen]
        place[second[new]] = place[first[new]] + lag[new]
        turned[second[new]] = turned[first[new]] ^ mirrored[new]
        known[second[new]] = True


def _other_groups(similar_to: Ints, representative: Ints) -> Ints:
    """Return the look-alikes of clips that are no copies, each by the representative of its own group."""
    own = np.arange(len(similar_to))
    other = representative[similar_to]
    return np.where((representative == own) & (other < own), other, own)
