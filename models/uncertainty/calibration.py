"""A calibration: from the features of a frame to one score, and from the score to the error that is to be expected.

Each feature becomes its rank among the frames of the calibration (0 to 1), and the score is their weighted mean. The
expected error rises with the score, step by step (isotonic regression). A calibration is a few hundred numbers of JSON
in the metrics of an evaluation, under `doubt`.

Shapes: N frames, F features, Q quantiles, C knots of the curve.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.metrics import MSE_FLOOR
from models.world.signals import DECAY, FEATURES


@dataclass(frozen=True, eq=False)
class Calibration:
    """What turns features into a score and an expected error; made by `models.uncertainty.fit.fit_calibration`."""

    quantiles_FQ: np.ndarray
    """Evenly spaced quantiles of each feature, in the order of `FEATURES`; each row rises."""
    weights_F: np.ndarray
    """At least 0; they add up to 1."""
    scores_C: np.ndarray
    """Rising scores from 0 to 1 at which the expected error is known; it is linear between them."""
    mse_C: np.ndarray
    """The expected mean squared error of a frame in [0, 1]; it never falls."""
    limit_mse: float
    """A frame that is expected to be worse than this counts as a guess."""

    def score(self, features_NF: np.ndarray) -> np.ndarray:
        """Return the scores (N,), from 0 to 1."""
        places = np.linspace(0, 1, self.quantiles_FQ.shape[1])
        ranks = [np.interp(own, row, places) for own, row in zip(features_NF.T, self.quantiles_FQ, strict=True)]
        return np.asarray(self.weights_F @ np.stack(ranks))

    def expected_mse(self, score_N: np.ndarray) -> np.ndarray:
        """Return the mean squared errors (N,) to be expected at some scores."""
        return np.interp(score_N, self.scores_C, self.mse_C)

    @property
    def threshold(self) -> float | None:
        """Return the lowest score whose expected error is above the limit; None where no score's is."""
        above = np.flatnonzero(self.mse_C > self.limit_mse)
        if not len(above):
            return None
        first = int(above[0])
        if first == 0:
            return 0.0
        low, high = self.mse_C[first - 1], self.mse_C[first]
        share = (self.limit_mse - low) / (high - low)
        return float(self.scores_C[first - 1] + share * (self.scores_C[first] - self.scores_C[first - 1]))

    def as_json(self) -> dict[str, Any]:
        """Return the calibration as plain numbers of six digits."""
        return {
            "decay": DECAY,
            "features": list(FEATURES),
            "quantiles": dict(zip(FEATURES, (_short(row) for row in self.quantiles_FQ), strict=True)),
            "weights": dict(zip(FEATURES, _short(self.weights_F), strict=True)),
            "curve": {"score": _short(self.scores_C), "mse": _short(self.mse_C)},
            "limit_mse": _short([self.limit_mse])[0],
            "threshold": self.threshold,
        }


def read_calibration(found: object) -> Calibration | None:
    """Return the calibration of an evaluation's `doubt`; None where there is none, or one of other signals.

    Raises:
        ValueError: it is no calibration.
    """
    if found is None:
        return None
    if not isinstance(found, Mapping):
        raise ValueError("the calibration of the doubt is no JSON object")
    if found.get("features") != list(FEATURES) or found.get("decay") != DECAY:
        return None  # of a lampworks with other signals: evaluating the world again makes a new one
    quantiles = found.get("quantiles")
    weights = found.get("weights")
    curve = found.get("curve")
    if not (isinstance(quantiles, Mapping) and isinstance(weights, Mapping) and isinstance(curve, Mapping)):
        raise ValueError("the calibration of the doubt lacks quantiles, weights or its curve")
    rows = [_numbers(quantiles.get(name), f"quantiles of {name}") for name in FEATURES]
    weights_F = _numbers([weights.get(name) for name in FEATURES], "weights")
    scores_C, mse_C = _numbers(curve.get("score"), "scores"), _numbers(curve.get("mse"), "errors")
    [limit] = _numbers([found.get("limit_mse")], "limit")
    if len({len(row) for row in rows}) != 1 or len(scores_C) != len(mse_C):
        raise ValueError("the calibration of the doubt has lists of different lengths")
    if any((np.diff(row) < 0).any() for row in (*rows, scores_C, mse_C)):
        raise ValueError("the calibration of the doubt has a list that falls")
    if (weights_F < 0).any() or not 0.99 < weights_F.sum() < 1.01 or limit < 0 or mse_C[0] < 0:
        raise ValueError("the calibration of the doubt has weights or errors that cannot be")
    return Calibration(np.stack(rows), weights_F / weights_F.sum(), scores_C, mse_C, float(limit))


def decibel(mse: float) -> float:
    """Return a mean squared error as PSNR in dB."""
    return -10 * math.log10(max(mse, MSE_FLOOR))


def _numbers(found: object, name: str) -> np.ndarray:
    if not isinstance(found, Sequence) or not found or not all(_is_number(value) for value in found):
        raise ValueError(f"the calibration of the doubt: its {name} are no list of finite numbers")
    return np.array(found, np.float64)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _short(values: Sequence[float] | np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
