"""Intervals of distances between sets, by halves of the sources.

A bootstrap with replacement holds sources twice, and both the Frechet distance and the kernel's discrepancy take twins
for less variety: its draws lie above the value. So each draw here is a half of the sources without replacement. The
spread of a figure over such halves is that of the figure over samples as large as the whole (the delete-half jackknife;
Shao and Wu, 1989). All figures of one evaluation take the same draws, so that they can be compared.

Halves also show the bias of small samples: a figure that grows like a + b / S from S sources to the half of them has
the limit a.

Shapes: S sources, K draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.bootstrap import interval_95


@dataclass(frozen=True)
class Spread:
    """What the halves say of a figure."""

    low: float
    high: float
    limit: float
    """The figure's value for very many sources, where its bias falls like 1 / S."""


def draw_halves(num_sources: int, num_draws: int, seed: int) -> NDArray[np.bool_]:
    """Return which sources (K, S) each draw takes: S // 2 of them; the same numbers and seed give the same draws."""
    order = np.random.default_rng((seed, num_sources)).random((num_draws, num_sources)).argsort(1).argsort(1)
    taken: NDArray[np.bool_] = order < num_sources // 2
    return taken


def spread_of(value: float, halves_K: NDArray[np.float64], num_sources: int) -> Spread:
    """Return the 95 % interval and the limit of a figure.

    Args:
        value: the figure of all sources.
        halves_K: the figure of each half of `draw_halves`.
        num_sources: S.
    """
    half = num_sources // 2
    mean = float(halves_K.mean())
    # the variance of a mean over `half` of S sources is that over S times (S - half) / half
    low, high = interval_95((halves_K - mean) * np.sqrt(half / (num_sources - half)))
    limit = (num_sources * value - half * mean) / (num_sources - half)
    return Spread(value + low, value + high, limit)
