"""From frame logits to a clip's probability of being good (Platt scaling), and how well it is calibrated.

The calibration is a logistic regression on three numbers of a clip: mean, minimum and standard deviation of its
frames' logits (the minimum notices a single menu frame). It is fitted on out-of-fold logits of *all* rated clips:
fitted on fives and ones alone, it would be overconfident about the clips between.

Dimension keys: N clips, K frames of a clip.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from sklearn.linear_model import LogisticRegression

from classifier.training.arrays import Bools, Floats


class Calibration(TypedDict):
    """A logistic regression as it is stored: four numbers and the names of its inputs."""

    features: list[str]
    weights: list[float]
    bias: float


class ReliabilityBin(TypedDict):
    """Clips of similar probability."""

    probability: float
    """Their mean probability."""
    good: float
    """Share of them that is good."""
    clips: int


def clip_features(frame_logits_NK: Floats) -> Floats:
    """Return (N, 3): mean, minimum and standard deviation of each clip's frame logits."""
    return np.stack([frame_logits_NK.mean(1), frame_logits_NK.min(1), frame_logits_NK.std(1)], axis=1)


def fit_platt(features_N3: Floats, good_N: Bools) -> Calibration:
    """Return the calibration that fits these clips."""
    # standardized because the penalty depends on scale; folded back so that only four numbers are stored
    mean, scale = features_N3.mean(0), np.maximum(features_N3.std(0), 1e-6)
    fitted = LogisticRegression(C=1.0, max_iter=5000).fit((features_N3 - mean) / scale, good_N)
    weights = fitted.coef_[0] / scale
    bias = float(fitted.intercept_[0] - (mean * weights).sum())
    return {"features": ["logit_mean", "logit_min", "logit_std"], "weights": weights.tolist(), "bias": bias}


def apply_platt(calibration: Calibration, features_N3: Floats) -> Floats:
    """Return calibrated probabilities (N,) of being good, within [1e-6, 1 - 1e-6]."""
    z = features_N3 @ np.asarray(calibration["weights"]) + calibration["bias"]
    # never 1, so that a threshold of 1 keeps nothing
    return np.clip(0.5 * (1 + np.tanh(z / 2)), 1e-6, 1 - 1e-6)


def stored_probabilities(calibration: Calibration, frame_logits_NK: Floats) -> Floats:
    """Return probabilities (N,) rounded as model.json stores them: a threshold chosen from the file is the same."""
    return apply_platt(calibration, clip_features(frame_logits_NK)).round(6)


def reliability(probability_N: Floats, good_N: Bools, num_bins: int = 10) -> tuple[list[ReliabilityBin], float]:
    """Return bins of equally many clips in the order of probability, and the expected calibration error over them."""
    order = np.argsort(probability_N, kind="stable")
    parts = [rows for rows in np.array_split(order, min(num_bins, max(1, len(order) // 5))) if len(rows)]
    bins: list[ReliabilityBin] = [
        {"probability": float(probability_N[rows].mean()), "good": float(good_N[rows].mean()), "clips": len(rows)}
        for rows in parts
    ]
    error = sum(abs(bin_["probability"] - bin_["good"]) * bin_["clips"] for bin_ in bins) / max(len(order), 1)
    return bins, float(error)
