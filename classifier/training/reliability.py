"""How well probabilities agree with shares: Brier score, log loss, calibration error and the bins of its plot.

Dimension keys: N clips, B bins, D draws of the bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from classifier.training.arrays import Bools, Floats
from classifier.training.auc import is_few
from classifier.training.intervals import Interval, WeightedMetric, ratio, source_interval
from classifier.training.metrics import CalibrationMetrics, Histogram, ReliabilityBin

CLIPS_A_BIN = 5
"""Least number of clips in a bin, on average."""


def calibration_metrics(
    probability_N: Floats, good_N: Bools, weight_N: Floats, groups: Sequence[str], *, method: str, weights: str
) -> CalibrationMetrics:
    """Return how well probabilities agree with shares, with intervals over sources.

    Args:
        probability_N: by a calibration that did not see the clip's source.
        good_N: which clips are good.
        weight_N: how many clips each stands for.
        groups: source of each clip.
        method: of the published calibration.
        weights: where `weight_N` comes from.
    """
    squared_N = (probability_N - good_N) ** 2
    surprise_N = -np.log(np.where(good_N, probability_N, 1 - probability_N))
    rows_B = _bins(probability_N)
    brier, brier_interval = _with_interval(_mean(squared_N, weight_N), groups)
    log_loss, log_loss_interval = _with_interval(_mean(surprise_N, weight_N), groups)
    error, error_interval = _with_interval(_expected_error(probability_N, good_N, weight_N, rows_B), groups)
    sources = [{group for group, good in zip(groups, good_N.tolist(), strict=True) if good is side} for side in _SIDES]
    num_good = int(good_N.sum())
    return {
        "method": method,
        "weights": weights,
        "brier": brier,
        "brier_interval": brier_interval,
        "log_loss": log_loss,
        "log_loss_interval": log_loss_interval,
        "expected_error": error,
        "expected_error_interval": error_interval,
        "bins": [_bin(probability_N[rows], good_N[rows], weight_N[rows]) for rows in rows_B],
        "histogram": _histogram(probability_N, good_N),
        "clips": len(good_N),
        "sources": len(set(groups)),
        "few": is_few(num_good, len(good_N) - num_good, len(sources[0]), len(sources[1])),
    }


_SIDES = (True, False)


def _bins(probability_N: Floats, most: int = 10) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return the clips in the order of probability, in bins of equally many."""
    order = np.argsort(probability_N, kind="stable")
    count = min(most, max(1, len(order) // CLIPS_A_BIN))
    return [rows for rows in np.array_split(order, count) if len(rows)]


def _bin(probability_N: Floats, good_N: Bools, weight_N: Floats) -> ReliabilityBin:
    return {
        "probability": float(np.average(probability_N, weights=weight_N)),
        "good": float(np.average(good_N, weights=weight_N)),
        "clips": len(good_N),
    }


def _mean(value_N: Floats, weight_N: Floats) -> WeightedMetric:
    return lambda drawn_DN: ratio(drawn_DN @ (value_N * weight_N), drawn_DN @ weight_N)


def _expected_error(
    probability_N: Floats, good_N: Bools, weight_N: Floats, rows_B: Sequence[np.ndarray[tuple[int], np.dtype[np.int64]]]
) -> WeightedMetric:
    difference_N = (probability_N - good_N) * weight_N

    def error(drawn_DN: Floats) -> Floats:
        off_D = np.sum([np.abs(drawn_DN[:, rows] @ difference_N[rows]) for rows in rows_B], axis=0)
        return ratio(off_D, drawn_DN @ weight_N)

    return error


def _with_interval(metric: WeightedMetric, groups: Sequence[str]) -> tuple[float | None, Interval | None]:
    value = float(metric(np.ones((1, len(groups))))[0])
    return (value, source_interval(metric, groups)) if math.isfinite(value) else (None, None)


def _histogram(probability_N: Floats, good_N: Bools, num_bins: int = 20) -> Histogram:
    edges = np.linspace(0, 1, num_bins + 1)
    return {
        "edges": edges.round(3).tolist(),
        "good": np.histogram(probability_N[good_N], edges)[0].tolist(),
        "bad": np.histogram(probability_N[~good_N], edges)[0].tolist(),
    }
