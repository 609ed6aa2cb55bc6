"""Bootstrap intervals over sources: clips of one video are not independent, so whole sources are drawn.

Dimension keys: N clips, G sources, D draws of the bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from classifier.training.arrays import Floats
from pipeline.bootstrap import draw_counts, interval_95

NUM_BOOTSTRAPS = 1000
MIN_SOURCES = 3
Interval = tuple[float, float]
WeightedMetric = Callable[[Floats], Floats]
"""From weights of the clips (D, N) to the metric under each draw (D,); NaN where it is undefined."""


def source_interval(metric: WeightedMetric, groups_N: Sequence[str], seed: int = 0) -> Interval | None:
    """Return the 95 % bootstrap interval of a metric over sources.

    Args:
        metric: computes the metric under weights of the clips.
        groups_N: source of every clip.
        seed: the same seed gives the same interval.

    Returns:
        None with fewer than 3 sources, or where the metric is undefined under most draws.
    """
    names, codes_N = np.unique(np.array(groups_N, dtype=str), return_inverse=True)
    if len(names) < MIN_SOURCES:
        return None
    # how often a source is drawn is the weight of all its clips
    drawn_DG = draw_counts(len(names), NUM_BOOTSTRAPS, seed)
    # in parts of at most 2 million weights (16 MB)
    parts = np.array_split(drawn_DG, max(1, NUM_BOOTSTRAPS * len(codes_N) // 2_000_000))
    values = np.concatenate([metric(part[:, codes_N]) for part in parts])
    values = values[np.isfinite(values)]
    return interval_95(values) if len(values) >= NUM_BOOTSTRAPS // 2 else None


def ratio(part_D: Floats, whole_D: Floats) -> Floats:
    """Return part / whole, NaN where the whole is 0."""
    return np.divide(part_D, whole_D, out=np.full(len(part_D), math.nan), where=whole_D > 0)
