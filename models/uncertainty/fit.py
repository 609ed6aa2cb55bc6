"""Fit a calibration to frames whose true error is known, and tell how well scores rank errors.

Weights come from a regression of the ranks of the errors on the ranks of the features, with weights of at least 0: a
signal that falls where the error rises gets no say, since it would make a world that is sure of itself look doubtful.
A small penalty on large weights keeps signals that say the same side by side.

Shapes: N frames, F features, Q quantiles, C knots of the curve, S sources.
"""

from __future__ import annotations

import numpy as np

from models.uncertainty.calibration import Calibration

_QUANTILES, _KNOTS, _FRAMES_PER_KNOT = 17, 16, 8
_PENALTY = 0.01
_SWEEPS = 300
_MOST_FOLDS = 5


def fit_calibration(features_NF: np.ndarray, mse_N: np.ndarray, limit_mse: float) -> Calibration | None:
    """Return a calibration of frames; None where no feature rises with the error.

    Args:
        features_NF: as of `models.world.signals.PathSignals`.
        mse_N: the mean squared error of each frame.
        limit_mse: a frame that is expected to be worse than this counts as a guess.
    """
    places = np.linspace(0, 1, _QUANTILES)
    quantiles_FQ = np.quantile(features_NF, places, axis=0).T
    ranks_NF = np.stack([np.interp(own, row, places) for own, row in zip(features_NF.T, quantiles_FQ, strict=True)], 1)
    weights_F = _weights_of(ranks_NF, ranks(mse_N) / max(1, len(mse_N) - 1))
    if not weights_F.sum() > 0:
        return None
    weights_F = weights_F / weights_F.sum()
    scores_C, mse_C = _curve(ranks_NF @ weights_F, mse_N)
    return Calibration(quantiles_FQ, weights_F, scores_C, mse_C, limit_mse)


def cross_fitted_scores(features_NF: np.ndarray, mse_N: np.ndarray, source_N: np.ndarray) -> np.ndarray:
    """Return the score (N,) of each frame by a calibration that was fitted to other sources; nan where none can be.

    Sources are divided into at most five folds, so every frame is scored once.
    """
    names = np.unique(source_N)
    scores_N = np.full(len(mse_N), np.nan)
    folds = min(_MOST_FOLDS, len(names))
    for fold in range(folds if folds > 1 else 0):
        held_out = np.isin(source_N, names[fold::folds])
        fitted = fit_calibration(features_NF[~held_out], mse_N[~held_out], 0.0)
        if fitted is not None:
            scores_N[held_out] = fitted.score(features_NF[held_out])
    return scores_N


def ranks(values_N: np.ndarray) -> np.ndarray:
    """Return the ranks (N,) of values, from 0; equal values share the mean of their ranks."""
    _, place_N, count_U = np.unique(values_N, return_inverse=True, return_counts=True)
    ends_U = np.cumsum(count_U)
    return np.asarray((ends_U - (count_U + 1) / 2)[place_N.reshape(-1)])


def ranks_within(values_N: np.ndarray, group_N: np.ndarray) -> np.ndarray:
    """Return the ranks (N,) of values within their groups, as shares of the group, with mean 0."""
    found_N = np.zeros(len(values_N))
    for group in np.unique(group_N):
        own = group_N == group
        found_N[own] = (ranks(values_N[own]) + 0.5) / own.sum() - 0.5
    return found_N


def moments_by_source(x_N: np.ndarray, y_N: np.ndarray, source_N: np.ndarray) -> np.ndarray:
    """Return the sums (S, 6) of 1, x, y, x², y² and xy of each source, in the order of the sources' names."""
    columns = np.stack([np.ones(len(x_N)), x_N, y_N, x_N**2, y_N**2, x_N * y_N], 1)
    return np.stack([columns[source_N == name].sum(0) for name in np.unique(source_N)])


def correlation_of_moments(moments: np.ndarray) -> np.ndarray:
    """Return the correlations (...) of sums (..., S, 6); 0 where a side is constant."""
    count, x, y, xx, yy, xy = np.moveaxis(moments.sum(-2), -1, 0)
    spread = (xx - x * x / count) * (yy - y * y / count)
    return np.where(spread > 1e-9, (xy - x * y / count) / np.sqrt(np.maximum(spread, 1e-9)), 0.0)


def _weights_of(ranks_NF: np.ndarray, target_N: np.ndarray) -> np.ndarray:
    """Return the weights (F,) >= 0 of the penalised least squares, by coordinate descent."""
    centred_NF, centred_N = ranks_NF - ranks_NF.mean(0), target_N - target_N.mean()
    gram_FF = centred_NF.T @ centred_NF / len(centred_N) + _PENALTY * np.eye(centred_NF.shape[1])
    pull_F = centred_NF.T @ centred_N / len(centred_N)
    weights_F = np.zeros(len(pull_F))
    for _ in range(_SWEEPS):
        for place in range(len(pull_F)):
            rest = pull_F[place] - gram_FF[place] @ weights_F + gram_FF[place, place] * weights_F[place]
            weights_F[place] = max(0.0, rest / gram_FF[place, place])
    return weights_F


def _curve(score_N: np.ndarray, mse_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores (C,) and the mean errors (C,) of bins of frames by score, made monotone by pooling."""
    bins = max(1, min(_KNOTS, len(mse_N) // _FRAMES_PER_KNOT))
    parts = np.array_split(np.argsort(score_N, kind="stable"), bins)
    centres = [float(score_N[part].mean()) for part in parts]
    # pool adjacent violators: (sum of errors, frames, bins)
    pooled: list[tuple[float, int, int]] = []
    for part in parts:
        pooled.append((float(mse_N[part].sum()), len(part), 1))
        while len(pooled) > 1 and pooled[-2][0] * pooled[-1][1] > pooled[-1][0] * pooled[-2][1]:
            last, before = pooled.pop(), pooled.pop()
            pooled.append((before[0] + last[0], before[1] + last[1], before[2] + last[2]))
    errors = [total / count for total, count, width in pooled for _ in range(width)]
    return np.array([0.0, *centres, 1.0]), np.array([errors[0], *errors, errors[-1]])
