"""Draw rows from a stream of them in bounded memory: the smallest keys, at most a quota of each source.

The key of a random draw is a seeded hash, so that it depends on the clips and the seed alone, and not on the order in
which they are read.

Dimension keys: N rows, S sources.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifier.training.arrays import Bools, Floats

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]


def seeded_hashes(seed: int | str, names: Sequence[str]) -> Hashes:
    """Return a hash (N,) of each name, which another seed makes another one."""
    start = f"{seed}\n".encode()
    digests = b"".join(hashlib.sha256(start + name.encode("utf-8", "surrogatepass")).digest()[:8] for name in names)
    return np.frombuffer(digests, ">u8").astype(np.uint64)


class Rows(NamedTuple):
    """Clips with what orders them."""

    clip_ids: NDArray[np.object_]
    source_N: Ints
    """Number of the clip's source."""
    key_N: Floats | Hashes
    hash_N: Hashes
    """Orders rows whose keys are equal."""

    def take(self, rows: Ints | Bools) -> Rows:
        """Return some rows."""
        return Rows(self.clip_ids[rows], self.source_N[rows], self.key_N[rows], self.hash_N[rows])


def ranks(rows: Rows) -> Ints:
    """Return how many rows of its source come before each row, by key."""
    order = np.lexsort((rows.hash_N, rows.key_N, rows.source_N))
    source = rows.source_N[order]
    first = np.flatnonzero(np.append(True, source[1:] != source[:-1])) if len(source) else np.zeros(0, np.int64)
    result = np.empty(len(source), np.int64)
    result[order] = np.arange(len(source)) - np.repeat(first, np.diff(np.append(first, len(source))))
    return result


class Smallest:
    """The rows with the smallest keys among all that are added, at most a quota of each source.

    At most `most` rows are kept between two calls, and it does not matter in which parts the rows come.
    """

    def __init__(self, most: int, quota: int | Ints) -> None:
        """Keep nothing yet.

        Args:
            most: rows in all.
            quota: rows of one source: one number for all of them, or one for each (S,).
        """
        self._most, self._quota = most, quota
        empty = np.zeros(0, np.int64)
        self._rows = Rows(np.zeros(0, object), empty, np.zeros(0), empty.astype(np.uint64))

    def add(self, rows: Rows) -> None:
        """Add rows."""
        if not self._most:
            return
        if not len(self._rows.clip_ids):
            self._rows = rows
        else:
            self._rows = Rows(
                np.concatenate([self._rows.clip_ids, rows.clip_ids]),
                np.concatenate([self._rows.source_N, rows.source_N]),
                np.concatenate([self._rows.key_N, rows.key_N]),
                np.concatenate([self._rows.hash_N, rows.hash_N]),
            )
        quota = self._quota if isinstance(self._quota, int) else self._quota[self._rows.source_N]
        self._rows = self._rows.take(ranks(self._rows) < quota)
        order = np.lexsort((self._rows.hash_N, self._rows.key_N))
        self._rows = self._rows.take(order[: self._most])

    def rows(self) -> Rows:
        """Return the rows, sorted by key."""
        return self._rows


class Quotas(NamedTuple):
    """How many clips each source gives, and how likely each of its clips is among them."""

    quota_S: Ints
    inclusion_S: Floats
    """Probability over all seeds: quotas are drawn too where not every source gives as many."""


def quotas(size_S: Ints, hash_S: Hashes, wanted: int, most: int) -> Quotas:
    """Return what each source gives to a draw in which sources take turns.

    In each turn every source that still has clips gives one. The sources of the last turn, in which not all are needed,
    are those with the smallest hashes.

    Args:
        size_S: clips of each source.
        hash_S: seeded hash of each source.
        wanted: clips to draw.
        most: clips of one source at most.
    """
    limit_S = np.minimum(size_S, most)
    wanted = min(wanted, int(limit_S.sum()))
    turns = 0
    while turns < most and int(np.minimum(limit_S, turns + 1).sum()) <= wanted:
        turns += 1
        if not (limit_S > turns).any():
            break
    quota_S = np.minimum(limit_S, turns)
    left = wanted - int(quota_S.sum())
    more_S = limit_S > turns
    expected_S = quota_S.astype(float)
    if left:
        expected_S += more_S * (left / more_S.sum())
        in_turn = np.flatnonzero(more_S)
        quota_S[in_turn[np.argsort(hash_S[in_turn], kind="stable")[:left]]] += 1
    return Quotas(quota_S, np.divide(expected_S, size_S, out=np.zeros(len(size_S)), where=size_S > 0))
