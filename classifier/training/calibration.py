"""From a raw score to a clip's probability of being good, and how well it is calibrated.

The calibration is fitted on out-of-fold scores of *all* rated clips (a 3 counts as not good): fitted on good and bad
ones alone, it would be overconfident about the clips between. Up to 1,000 labels it is a logistic curve of two numbers
(Platt); from 1,000 on it is isotonic, which bends where the scores need it. Both keep the order of the scores.

Where it is known with which probability each clip was drawn for labelling, a clip counts as many times as it stands
for others, so that the probabilities are of the natural mix and not of the labelled one.

Dimension keys: N clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from classifier.training.arrays import Bools, Floats
from classifier.training.folds import Fold

ISOTONIC_FROM = 1000
"""Labels from which on the calibration is isotonic; with fewer, its steps follow chance."""
_LEAST = 1e-6


class Calibration(TypedDict):
    """A calibration as it is stored: numbers alone."""

    method: str
    """`platt` or `isotonic`."""
    slope: float
    bias: float
    """Of the logistic curve; 0 for isotonic."""
    scores: list[float]
    probabilities: list[float]
    """Corners of the isotonic curve; empty for Platt."""


def fit_calibration(score_N: Floats, good_N: Bools, weight_N: Floats | None = None) -> Calibration:
    """Return the calibration that fits these clips: Platt below 1,000 of them, isotonic from then on."""
    weight_N = np.ones(len(score_N)) if weight_N is None else weight_N
    if len(score_N) >= ISOTONIC_FROM:
        fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(score_N, good_N, weight_N)
        return {
            "method": "isotonic", "slope": 0.0, "bias": 0.0, "scores": fitted.X_thresholds_.tolist(),
            "probabilities": fitted.y_thresholds_.tolist(),
        }  # fmt: skip
    # standardized because the penalty depends on scale; folded back so that only two numbers are stored
    mean, scale = float(score_N.mean()), max(float(score_N.std()), 1e-9)
    z_N1 = ((score_N - mean) / scale)[:, None]
    model = LogisticRegression(C=1.0, max_iter=5000).fit(z_N1, good_N, weight_N / weight_N.mean())
    # never downwards: a better score is never less probable
    slope = max(float(model.coef_[0, 0]), 0.0) / scale
    bias = float(model.intercept_[0]) - slope * mean
    return {"method": "platt", "slope": slope, "bias": bias, "scores": [], "probabilities": []}


def apply_calibration(calibration: Calibration, score_N: Floats) -> Floats:
    """Return probabilities (N,) of being good, within [1e-6, 1 - 1e-6]; NaN where the score is."""
    if calibration["method"] == "isotonic":
        found = np.interp(score_N, calibration["scores"], calibration["probabilities"])
        found = np.where(np.isfinite(score_N), found, np.nan)
    else:
        found = 0.5 * (1 + np.tanh((score_N * calibration["slope"] + calibration["bias"]) / 2))
    # never 1, so that a threshold of 1 keeps nothing
    return np.clip(found, _LEAST, 1 - _LEAST)


def stored_probabilities(calibration: Calibration, score_N: Floats) -> Floats:
    """Return probabilities (N,) rounded as model.json stores them: a threshold chosen from the file is the same."""
    return apply_calibration(calibration, score_N).round(6)


def cross_fitted(score_N: Floats, good_N: Bools, weight_N: Floats, folds: Sequence[Fold]) -> Floats:
    """Return probabilities (N,), each by a calibration that was fitted on clips of other sources.

    How well probabilities agree with shares is measured on these; the published calibration uses all clips.
    """
    found = np.full(len(score_N), np.nan)
    for learn, scored in folds:
        calibration = fit_calibration(score_N[learn], good_N[learn], weight_N[learn])
        found[scored] = apply_calibration(calibration, score_N[scored])
    return found
