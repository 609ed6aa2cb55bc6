"""The printed interval of the keep precision holds for other sources, which had no part in the choice."""

from __future__ import annotations

import numpy as np
import pytest

from classifier.decision.threshold import RatedScores, choose_threshold
from pipeline.config import DecisionConfig

POOLS = 60


def made_up_pool(rng: np.random.Generator, sources: int, alike: float, shift: float) -> RatedScores:
    """Return clips of sources that differ: in how good their clips are (`alike`), and in how they score (`shift`)."""
    source_N = np.repeat(np.arange(sources), rng.integers(1, 8, sources))
    quality_N = rng.normal(0, alike, sources)[source_N] + rng.normal(0, 1, len(source_N))
    score_N = quality_N + rng.normal(0, shift, sources)[source_N] + rng.normal(0, 0.5, len(source_N))
    return RatedScores((1 / (1 + np.exp(-2 * score_N))).round(6), quality_N > 0, [f"s{source}" for source in source_N])


@pytest.mark.slow
@pytest.mark.parametrize("sources", [15, 30])
@pytest.mark.parametrize(("alike", "shift"), [(1.0, 0.5), (2.0, 1.0), (1.0, 1.5)])
def test_the_precision_on_other_sources_lies_in_the_interval(sources: int, alike: float, shift: float) -> None:
    inside = []
    for seed in range(POOLS):
        rng = np.random.default_rng(seed)
        rated, other = (made_up_pool(rng, sources, alike, shift) for _ in range(2))
        found = choose_threshold(rated, DecisionConfig(), rated.probability_N, len(rated.probability_N))
        kept_N = other.probability_N >= found["threshold"]
        if kept_N.any():
            low, high = found["interval"]
            inside.append(low <= other.good_N[kept_N].mean() <= high)
    print(f"{sources} sources, {alike}, {shift}: inside in {np.mean(inside):.2f} of {len(inside)} pools")
    assert np.mean(inside) >= 0.8
