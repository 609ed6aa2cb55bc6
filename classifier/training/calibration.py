"""From logits to probabilities, and from probabilities to a threshold and honest figures. Numbers only, no networks.

Platt scaling on three numbers of a clip (mean, least and spread of its frames' logits: one menu frame is what the
least catches) is fitted on out-of-fold scores of *all* rated clips, because between 5 and 1 alone everything looks
easy. Intervals are bootstraps over sources: the clips of one video are no independent witnesses.

Dimension keys: N clips, L levels of score, G sources, D draws of the bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
NUM_BOOTSTRAPS = 1000


def clip_features(frame_logits_NK: Floats) -> Floats:
    """Return (N, 3): mean, least and standard deviation of each clip's frame logits."""
    return np.stack([frame_logits_NK.mean(1), frame_logits_NK.min(1), frame_logits_NK.std(1)], axis=1)


def fit_platt(features_N3: Floats, good_N: Bools) -> dict[str, Any]:
    """Return a logistic calibration as numbers: `weights` of the three features and a `bias`."""
    # scaled for the penalty's sake, and folded back so that only four numbers are stored
    mean, scale = features_N3.mean(0), np.maximum(features_N3.std(0), 1e-6)
    fitted = LogisticRegression(C=1.0, max_iter=5000).fit((features_N3 - mean) / scale, good_N)
    weights = fitted.coef_[0] / scale
    bias = float(fitted.intercept_[0] - (mean * weights).sum())
    return {"features": ["logit_mean", "logit_min", "logit_std"], "weights": weights.tolist(), "bias": bias}


def apply_platt(calibration: dict[str, Any], features_N3: Floats) -> Floats:
    """Return calibrated probabilities (N,) of being good."""
    z = features_N3 @ np.asarray(calibration["weights"]) + calibration["bias"]
    # never quite certain: a threshold of 1 then keeps nothing
    return np.clip(0.5 * (1 + np.tanh(z / 2)), 1e-6, 1 - 1e-6)


def auc(score_N: Floats, good_N: Bools) -> float:
    """Return the probability that a good clip scores above a bad one (ties count half); NaN without both kinds."""
    return float(_aucs(score_N, good_N)(np.ones((1, len(good_N))))[0])


def _aucs(score_N: Floats, good_N: Bools) -> Callable[[Floats], Floats]:
    """Return the function from weights of the clips (D, N) to weighted AUCs (D,)."""
    order = np.argsort(score_N, kind="stable")
    levels = np.flatnonzero(np.append(True, np.diff(score_N[order]) != 0)) if len(order) else np.array([], int)

    def weighted(weight_DN: Floats) -> Floats:
        if not len(order):
            return np.full(len(weight_DN), math.nan)
        weight_DN = weight_DN[:, order]
        good_DL = np.add.reduceat(weight_DN * good_N[order], levels, axis=1)
        bad_DL = np.add.reduceat(weight_DN * ~good_N[order], levels, axis=1)
        below_DL = np.cumsum(bad_DL, axis=1) - bad_DL
        return _ratio((good_DL * (below_DL + bad_DL / 2)).sum(1), good_DL.sum(1) * bad_DL.sum(1))

    return weighted


def _ratio(part_D: Floats, whole_D: Floats) -> Floats:
    return np.divide(part_D, whole_D, out=np.full(len(part_D), math.nan), where=whole_D > 0)


def source_interval(
    figure: Callable[[Floats], Floats], groups_N: Sequence[str], seed: int = 0
) -> tuple[float, float] | None:
    """Return the 95 % bootstrap interval over sources of a figure; None with fewer than 3 sources.

    Args:
        figure: the figure (D,) under weights of the clips (D, N); NaN where it is undefined, left out.
        groups_N: source of every clip.
        seed: same seed, same interval.
    """
    names, codes_N = np.unique(np.array(groups_N, dtype=str), return_inverse=True)
    if len(names) < 3:
        return None
    # how often each source is drawn is the weight of all its clips
    rng = np.random.default_rng(seed)
    drawn_DG = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), NUM_BOOTSTRAPS).astype(float)
    parts = np.array_split(drawn_DG, max(1, NUM_BOOTSTRAPS * len(codes_N) // 2_000_000))
    values = np.concatenate([figure(part[:, codes_N]) for part in parts])
    values = values[np.isfinite(values)]
    if len(values) < NUM_BOOTSTRAPS // 2:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def auc_figures(score_N: Floats, good_N: Bools, groups_N: Sequence[str]) -> dict[str, Any]:
    """Return an AUC with its interval over sources, and how many clips and sources it rests on; null without both."""
    value = auc(score_N, good_N)
    interval = None
    if math.isfinite(value):
        interval = source_interval(_aucs(score_N, good_N), groups_N)
    return {
        "auc": value if math.isfinite(value) else None,
        "interval": interval,
        "clips": len(good_N),
        "good": int(good_N.sum()),
        "sources": len(set(groups_N)),
    }


def reliability(probability_N: Floats, good_N: Bools, num_bins: int = 10) -> tuple[list[dict[str, float]], float]:
    """Return equal-mass bins (probability, share good, clips) and the expected calibration error over them."""
    order = np.argsort(probability_N, kind="stable")
    bins = [rows for rows in np.array_split(order, min(num_bins, max(1, len(order) // 5))) if len(rows)]
    found = [
        {"probability": float(probability_N[rows].mean()), "good": float(good_N[rows].mean()), "clips": len(rows)}
        for rows in bins
    ]
    error = sum(abs(bin_["probability"] - bin_["good"]) * bin_["clips"] for bin_ in found) / max(len(order), 1)
    return found, float(error)


def precision_bound(num_good: int, num_kept: int, confidence: float) -> float:
    """Return the one-sided Clopper-Pearson lower bound of a precision."""
    if num_good == 0:
        return 0.0
    return float(beta.ppf(1 - confidence, num_good, num_kept - num_good + 1))


def choose_threshold(
    probability_N: Floats, good_N: Bools, target_precision: float, confidence: float
) -> dict[str, Any]:
    """Return the lowest cut whose precision is at least the target, with confidence.

    A point estimate would miss the target about half the time (simulated); the Clopper-Pearson bound misses it in
    under 10 %. Where too few clips are rated for any cut to reach the bound, the fallback is the lowest cut whose
    *measured* precision reaches the target (then `certified` is false), and where none does, 1: nothing is kept
    by its score.
    """
    order = np.argsort(-probability_N, kind="stable")
    probability, good = probability_N[order], np.cumsum(good_N[order])
    kept = np.arange(1, len(order) + 1)
    # clips of equal probability fall on the same side
    ends = np.flatnonzero(np.append(probability[1:] != probability[:-1], True)) if len(order) else np.array([], int)
    certified = [end for end in ends if precision_bound(int(good[end]), int(kept[end]), confidence) >= target_precision]
    measured = [end for end in ends if good[end] / kept[end] >= target_precision]
    found = {"target_precision": target_precision, "confidence": confidence, "clips": len(order)}
    if not measured:
        return {**found, "threshold": 1.0, "certified": False, "precision": None, "bound": None, "recall": 0.0}
    end = certified[-1] if certified else measured[-1]
    return {
        **found,
        "threshold": float(probability[end]),
        "certified": bool(certified),
        "precision": float(good[end] / kept[end]),
        "bound": precision_bound(int(good[end]), int(kept[end]), confidence),
        "recall": float(good[end] / max(good[-1], 1)),
    }


def at_threshold(probability_N: Floats, good_N: Bools, groups_N: Sequence[str], threshold: float) -> dict[str, Any]:
    """Return precision and recall of `probability >= threshold` with intervals over sources; null where undefined."""
    kept_N = probability_N >= threshold

    shares: dict[str, Callable[[Floats], Floats]] = {
        "precision": lambda weight_DN: _ratio(weight_DN @ (kept_N & good_N), weight_DN @ kept_N),
        "recall": lambda weight_DN: _ratio(weight_DN @ (kept_N & good_N), weight_DN @ good_N),
    }
    figures: dict[str, Any] = {"threshold": threshold, "kept": int(kept_N.sum()), "clips": len(good_N)}
    for name, figure in shares.items():
        value = float(figure(np.ones((1, len(good_N))))[0])
        figures[name] = value if math.isfinite(value) else None
        figures[f"{name}_interval"] = source_interval(figure, groups_N) if math.isfinite(value) else None
    return figures
