"""What the network must beat: scikit-learn on hand measurements, and every single flag and measurement alone.

A network from scratch on a few hundred labels may well lose to a logistic regression; the figures then say so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from classifier.training.calibration import Bools, Floats, auc, auc_figures
from classifier.training.examples import Examples
from pipeline.clips.features import FLAGS

Fit = Callable[[Floats, Bools], Callable[[Floats], Floats]]


def fit_logistic(features_NF: Floats, good_N: Bools) -> Callable[[Floats], Floats]:
    """Return the scorer of a logistic regression on standardized features (unknown ones at their mean)."""
    mean = np.array(
        [column[np.isfinite(column)].mean() if np.isfinite(column).any() else 0 for column in features_NF.T]
    )

    def filled(features: Floats) -> Floats:
        return np.where(np.isfinite(features), features, mean)

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(filled(features_NF), good_N)
    return lambda features: np.asarray(model.predict_proba(filled(features))[:, 1])


def fit_boosting(features_NF: Floats, good_N: Bools) -> Callable[[Floats], Floats]:
    """Return the scorer of gradient-boosted trees (at home with unknown features)."""
    leaf = int(np.clip(len(good_N) // 10, 2, 20))
    model = HistGradientBoostingClassifier(
        max_iter=100, min_samples_leaf=leaf, early_stopping=False, random_state=0, categorical_features=None
    ).fit(features_NF, good_N)
    return lambda features: np.asarray(model.predict_proba(features)[:, 1])


BASELINES: dict[str, Fit] = {"logistic regression": fit_logistic, "gradient boosting": fit_boosting}


def baseline_scores(learning: Examples, scored: Examples) -> dict[str, Floats]:
    """Return the scores (N,) of every baseline, fitted on the fives and ones of `learning`, for all of `scored`."""
    if not len(scored.clip_ids):
        return {name: np.zeros(0) for name in BASELINES}
    paper = learning.take(learning.extreme)
    # a few hundred rows are too little to share: on a busy machine the trees' threads would wait for each other
    with threadpool_limits(1):
        return {
            name: fit(paper.features_NF, paper.rating_N == 5)(scored.features_NF) for name, fit in BASELINES.items()
        }


def single_columns(train: Examples, good_train_N: Bools, held: Examples, good_held_N: Bools) -> dict[str, Any]:
    """Return how well one flag or one measurement alone tells good from bad on held-out sources.

    `flags` lists every technical flag (a flagged clip counts as bad), `best_flag` the one that does best *there*,
    which favours it. `best_measurement` and its direction are chosen on the training sources.
    """
    flags = {
        name: auc_figures(-held.flags_NF[:, i].astype(float), good_held_N, held.groups) for i, name in enumerate(FLAGS)
    }
    known = {name: found for name, found in flags.items() if found["auc"] is not None}
    best_flag = max(known, key=lambda name: (known[name]["auc"], name), default=None)
    best, sign, reached = _best_measurement(train, good_train_N)
    return {
        "flags": flags,
        "best_flag": None if best_flag is None else {"name": best_flag, **flags[best_flag]},
        "best_measurement": None if best is None else {
            "name": train.feature_names[best],
            "direction": "high is good" if sign > 0 else "low is good",
            "auc_in_training": reached,
            **auc_figures(_column(held, best, sign), good_held_N, held.groups),
        },
    }  # fmt: skip


def _best_measurement(train: Examples, good_N: Bools) -> tuple[int | None, int, float]:
    best: tuple[int | None, int, float] = (None, 1, 0.0)
    for i in range(train.features_NF.shape[1]):
        found = auc(_column(train, i, 1), good_N)
        if math.isnan(found):
            continue
        sign = 1 if found >= 0.5 else -1
        reached = found if sign > 0 else auc(_column(train, i, -1), good_N)
        if reached > best[2]:
            best = (i, sign, reached)
    return best


def _column(examples: Examples, index: int, sign: int) -> NDArray[np.float64]:
    # what could not be measured stands in the middle
    values = examples.features_NF[:, index]
    middle = float(np.median(values[np.isfinite(values)])) if np.isfinite(values).any() else 0.0
    return sign * np.where(np.isfinite(values), values, middle)
