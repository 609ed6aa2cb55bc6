"""Means with 95 % intervals over seeds and over held-out sources, and what a difference says.

Over seeds: Student's t of the values of each seed; two arms are compared by the differences of common seeds. Over
sources: each source's mean over the seeds, resampled. Either interval covers one kind of chance alone, so a difference
counts where both lie on one side of 0.

Shapes: R seeds, S sources.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from scipy import stats

from models.evaluation.metric import Metric, unknown, with_interval
from models.metrics import bootstrap

TOO_FEW = "too few to tell"
MIN_SEEDS, MIN_SOURCES = 3, 8
_DRAWS = 2000

Better = Literal["higher", "lower"]


def over_seeds(values_R: Sequence[float]) -> Metric:
    """Return the mean over seeds with its interval by Student's t; one seed alone has no interval."""
    known = np.array([value for value in values_R if math.isfinite(value)], np.float64)
    if not len(known):
        return unknown("no seed has a value")
    mean = float(known.mean())
    if len(known) < 2:
        return {"value": mean, "low": None, "high": None, "reason": "one seed has no interval"}
    half = float(stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / math.sqrt(len(known)))
    return {"value": mean, "low": mean - half, "high": mean + half}


def paired_by_seed(one: Mapping[int, float], other: Mapping[int, float]) -> Metric:
    """Return the mean of `one` less `other` over their common seeds, with its interval."""
    return over_seeds([one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())])


def paired_by_source(one_RS: np.ndarray, other_RS: np.ndarray) -> Metric:
    """Return the mean of `one` less `other` over sources, with the interval of resampled sources.

    Args:
        one_RS: a value per seed and source; nan where there is none.
        other_RS: the same of the other arm, for the same seeds and sources.
    """
    if one_RS.shape != other_RS.shape:
        raise ValueError(f"{one_RS.shape} and {other_RS.shape}: not the same seeds and sources")
    difference_RS = one_RS - other_RS
    counts_S = np.isfinite(difference_RS).sum(0)
    difference_S = np.nansum(difference_RS, 0)[counts_S > 0] / counts_S[counts_S > 0]
    if len(difference_S) < 2:
        return {**unknown(f"{len(difference_S)} held-out sources: {TOO_FEW}"), "num_sources": len(difference_S)}
    found = bootstrap(difference_S, draws=_DRAWS, seed=0)
    assert found is not None
    return with_interval(found)


def verdict(by_seed: Metric, by_source: Metric | None, better: Better, *, seeds: int, sources: int) -> str:
    """Return what a difference says: better, worse, not told apart, or too few to tell.

    Args:
        by_seed: the difference with its interval over seeds.
        by_source: the same over sources; None where the figure has no sources, and seeds alone decide.
        better: whether a higher or a lower figure is the better one.
        seeds: common seeds.
        sources: held-out sources.
    """
    if by_source is None:
        if seeds < MIN_SEEDS:
            return f"{TOO_FEW} ({seeds} seeds; {MIN_SEEDS} are asked for)"
    elif seeds < MIN_SEEDS or sources < MIN_SOURCES:
        return f"{TOO_FEW} ({seeds} seeds, {sources} held-out sources; {MIN_SEEDS} and {MIN_SOURCES} are asked for)"
    sides = {_side(each) for each in (by_seed, by_source) if each is not None}
    if sides == {1}:
        return "better" if better == "higher" else "worse"
    if sides == {-1}:
        return "worse" if better == "higher" else "better"
    return "not told apart"


def _side(metric: Metric) -> int:
    low, high = metric.get("low"), metric.get("high")
    return 0 if low is None or high is None or low <= 0 <= high else 1 if low > 0 else -1


def shown(metric: Metric, digits: int = 2, unit: str = "") -> str:
    """Return a figure with its interval as text."""
    value, low, high = metric["value"], metric.get("low"), metric.get("high")
    if value is None:
        return metric.get("reason", "-")
    more = "" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}{f' {unit}' if unit else ''}{more}"
