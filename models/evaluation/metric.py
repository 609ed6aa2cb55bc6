"""One published metric: a value, its 95 % interval over source videos, or the reason why it is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Required, TypedDict

import numpy as np

from models.metrics import Interval, bootstrap, per_source
from pipeline.bootstrap import LEAST_FOR_INTERVAL, too_few
from pipeline.config import EvaluationConfig


class Metric(TypedDict, total=False):
    """A metric as it is stored in JSON."""

    value: Required[float | None]
    low: float | None
    high: float | None
    num_sources: int
    reason: str
    """Why the value, or its interval, is unknown."""


Metrics = dict[str, Metric]
"""Metrics by name."""


def mean_over_sources(values_N: np.ndarray, sources: Sequence[str], config: EvaluationConfig) -> Metric:
    """Return the mean over sources of one value per window, with its interval.

    Args:
        values_N: a value per window; nan where there is none.
        sources: video id of each window.
        config: number of bootstrap draws, and their seed.
    """
    interval = bootstrap(per_source(values_N, sources), draws=config.bootstrap_draws, seed=config.seed)
    return with_interval(interval) if interval is not None else unknown("nothing moves in the held-out windows")


def with_interval(interval: Interval, *, least: int = LEAST_FOR_INTERVAL, of: str = "source") -> Metric:
    """Return a value and its interval as a metric; of fewer sources (`of` names them) the value alone, and why."""
    few = interval.num_sources < least
    found: Metric = {
        "value": interval.value,
        "low": None if few else interval.low,
        "high": None if few else interval.high,
        "num_sources": interval.num_sources,
    }
    if few:
        found["reason"] = too_few(interval.num_sources, least, of=of)
    return found


def unknown(reason: str) -> Metric:
    """Return a metric without a value."""
    return {"value": None, "low": None, "high": None, "num_sources": 0, "reason": reason}
