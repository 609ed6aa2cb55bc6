"""The squared maximum mean discrepancy of sets of feature vectors under the kernel (x . y / D)^2, without bias.

The kernel is that of JEDi (arXiv:2410.05203), which takes the mean over all pairs and multiplies by 100. That mean is
biased for few vectors. Here a pair counts only where its two vectors come from different sources, in all three means:
windows of a video resemble each other, and a rollout resembles the video that it began with. The expectation is then 0
for two sets of one distribution, whatever their number, and a value may be below 0.

    sums = KernelSums([true_ND, generated_ND], sources_N)
    sums.mmd(0, 1), sums.standard_error(0, 1)

Kernels are computed for blocks of rows, so that no table of all pairs of vectors is held.

Shapes: N vectors of each set, D dimensions, S sources, B vectors of a block.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 22
"""Kernels that are held at a time (32 MB)."""


class KernelSums:
    """Sums of kernels by pair of sources, from which the discrepancy of any of the sources follows at once."""

    def __init__(self, sets: Sequence[NDArray[np.floating]], sources: Sequence[str]) -> None:
        """Compute the sums of all pairs of sets.

        Args:
            sets: of vectors (N, D) each, all of the same sources in the same order.
            sources: the source (N,) of each vector.
        """
        names, place = np.unique(np.asarray(sources), return_inverse=True)
        self.num_sources = len(names)
        order = np.argsort(place, kind="stable")
        vectors = [np.asarray(each, np.float64)[order] for each in sets]
        sizes = np.bincount(place).astype(np.float64)
        self._counts = np.outer(sizes, sizes)
        np.fill_diagonal(self._counts, 0)
        self._sums = {
            (a, b): _sums_by_source(x, y, place[order])
            for a, x in enumerate(vectors)
            for b, y in enumerate(vectors)
            if a <= b
        }

    def mmd(
        self, a: int, b: int, of_a: NDArray[np.bool_] | None = None, of_b: NDArray[np.bool_] | None = None
    ) -> float:
        """Return the squared discrepancy of two sets.

        Args:
            a: index of one set.
            b: index of the other one.
            of_a: which sources (S,) of the first set count, in the order of their names; all by default.
            of_b: the same of the other set; the sources of the first one by default.

        Raises:
            ValueError: a mean has no pair: each set needs two sources.
        """
        of_a = np.ones(self.num_sources, bool) if of_a is None else of_a
        of_b = of_a if of_b is None else of_b
        return self._mean(a, a, of_a, of_a) + self._mean(b, b, of_b, of_b) - 2 * self._mean(a, b, of_a, of_b)

    def standard_error(self, a: int, b: int) -> float:
        """Return the jackknife's standard error: each source is left out once, of both sets; three sources or more."""
        count = self.num_sources
        values = self._means_without_one(a, a) + self._means_without_one(b, b) - 2 * self._means_without_one(a, b)
        return float(np.sqrt((count - 1) / count * np.square(values - values.mean()).sum()))

    def _mean(self, a: int, b: int, of_a: NDArray[np.bool_], of_b: NDArray[np.bool_]) -> float:
        sums = self._sums[a, b] if a <= b else self._sums[b, a].T
        count = float(of_a @ self._counts @ of_b)
        if not count:
            raise ValueError("a mean over pairs of different sources needs two sources")
        return float(of_a @ sums @ of_b) / count

    def _means_without_one(self, a: int, b: int) -> NDArray[np.float64]:
        """Return the mean (S,) over the pairs that stay without each source; ValueError where none stays."""
        sums = self._sums[a, b] if a <= b else self._sums[b, a].T
        # a source has no pair with itself, so nothing is taken twice
        left, count = (table.sum() - table.sum(0) - table.sum(1) for table in (sums, self._counts))
        if not count.all():
            raise ValueError("the jackknife needs three sources")
        means: NDArray[np.float64] = left / count
        return means


def _sums_by_source(
    x_ND: NDArray[np.float64], y_ND: NDArray[np.float64], place_N: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the sums (S, S) of the kernels by pair of different sources; vectors lie in the order of sources."""
    starts = np.flatnonzero(np.diff(place_N, prepend=-1))
    found = np.zeros((len(starts), len(starts)))
    rows = max(1, BLOCK // len(place_N))
    for start in range(0, len(place_N), rows):
        block = slice(start, start + rows)
        kernels_BN = (x_ND[block] / x_ND.shape[1]) @ y_ND.T
        np.square(kernels_BN, out=kernels_BN)
        np.add.at(found, place_N[block], np.add.reduceat(kernels_BN, starts, axis=1))
    np.fill_diagonal(found, 0)
    return found
