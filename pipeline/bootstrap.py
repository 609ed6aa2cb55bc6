"""Bootstrap over source videos: resample whole sources with replacement, and take the 95 % interval of a metric.

Clips and windows of one video are not independent, so sources are drawn and not clips. A draw comes in two forms: the
indices of the drawn sources, for values that are reduced over sources, and the number of times that each source is
drawn, for metrics that take weights.

Shapes: D draws, S sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_FOR_INTERVAL = 5
"""With fewer sources no interval is given: of one all draws are the same, of two a draw is one of three, and of four
one of 35."""


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


def stored_ends(metric: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the ends of the interval of a stored metric; None where its sources are too few for one.

    Evaluations of earlier versions gave intervals of one source too, without any width.
    """
    if metric.get("num_sources", LEAST_FOR_INTERVAL) < LEAST_FOR_INTERVAL:
        return None, None
    return metric.get("low"), metric.get("high")


def few_sources(metric: Mapping[str, Any]) -> str:
    """Return why a stored metric has a value and no interval; empty where it has one, or no value."""
    count = metric.get("num_sources", LEAST_FOR_INTERVAL)
    if metric["value"] is None or not 0 < count < LEAST_FOR_INTERVAL:
        return ""
    return too_few(count)


def too_few(count: int, least: int = LEAST_FOR_INTERVAL, *, of: str = "source") -> str:
    """Return what is said of a value whose sources (or what `of` names) are too few for an interval."""
    return f"too few to tell an interval: {count} {of}{'s' if count > 1 else ''}, and {least} are needed"
