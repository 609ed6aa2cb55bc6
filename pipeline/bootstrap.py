"""Bootstrap over source videos: resample whole sources with replacement, and take the 95 % interval of a metric.

Clips and windows of one video are not independent, so sources are drawn and not clips. A draw comes in two forms: the
indices of the drawn sources, for values that are reduced over sources, and the number of times that each source is
drawn, for metrics that take weights.

Shapes: D draws, S sources.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def draw_indices(num_sources: int, num_draws: int, seed: int) -> NDArray[np.int64]:
    """Return the indices (D, S) of the sources of each draw; the same numbers and seed give the same draws."""
    return np.random.default_rng(seed).integers(0, num_sources, (num_draws, num_sources))


def draw_counts(num_sources: int, num_draws: int, seed: int) -> NDArray[np.float64]:
    """Return how often each source is drawn (D, S); the same numbers and seed give the same draws."""
    shares = np.full(num_sources, 1 / num_sources)
    return np.random.default_rng(seed).multinomial(num_sources, shares, num_draws).astype(np.float64)


def interval_95(values_D: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 2.5th and the 97.5th percentile of a metric over the draws."""
    low, high = np.percentile(values_D, [2.5, 97.5])
    return float(low), float(high)
