"""What the network is compared with: scikit-learn on hand-made features, and every flag and measurement alone.

With a few hundred labels, a network trained from scratch may lose to a logistic regression; the metrics show it.

Dimension keys: N clips, F features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypedDict

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from classifier.training.arrays import Bools, Floats
from classifier.training.auc import AucMetrics, auc, auc_metrics
from classifier.training.examples import Examples
from pipeline.clips.flags import FLAGS

Scorer = Callable[[Floats], Floats]
Fit = Callable[[Floats, Bools], Scorer]


class BestFlag(AucMetrics):
    """The technical flag that separates fives from ones best."""

    name: str


class BestMeasurement(AucMetrics):
    """The measurement that separates fives from ones best."""

    name: str
    direction: str
    """`high is good` or `low is good`."""
    auc_in_training: float


class SingleColumns(TypedDict):
    """How well one column of the clips does alone."""

    flags: dict[str, AucMetrics]
    best_flag: BestFlag | None
    best_measurement: BestMeasurement | None


def fit_logistic(features_NF: Floats, good_N: Bools) -> Scorer:
    """Return the scorer of a logistic regression on standardized features; a missing feature counts as its mean."""
    mean = np.array(
        [column[np.isfinite(column)].mean() if np.isfinite(column).any() else 0 for column in features_NF.T]
    )

    def filled(features: Floats) -> Floats:
        return np.where(np.isfinite(features), features, mean)

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(filled(features_NF), good_N)
    return lambda features: np.asarray(model.predict_proba(filled(features))[:, 1])


def fit_boosting(features_NF: Floats, good_N: Bools) -> Scorer:
    """Return the scorer of gradient-boosted trees, which handle missing features themselves."""
    leaf = int(np.clip(len(good_N) // 10, 2, 20))
    model = HistGradientBoostingClassifier(
        max_iter=100, min_samples_leaf=leaf, early_stopping=False, random_state=0, categorical_features=None
    ).fit(features_NF, good_N)
    return lambda features: np.asarray(model.predict_proba(features)[:, 1])


BASELINES: dict[str, Fit] = {"logistic regression": fit_logistic, "gradient boosting": fit_boosting}


def baseline_scores(learning: Examples, scored: Examples) -> dict[str, Floats]:
    """Return the scores (N,) of every baseline for all of `scored`, fitted on the fives and ones of `learning`."""
    if not len(scored.clip_ids):
        return {name: np.zeros(0) for name in BASELINES}
    extremes = learning.take(learning.extreme)
    # a few hundred rows are too little work to share: on a busy machine the threads of the trees wait for each other
    with threadpool_limits(1):
        return {
            name: fit(extremes.features_NF, extremes.rating_N == 5)(scored.features_NF)
            for name, fit in BASELINES.items()
        }


def single_columns(train: Examples, held: Examples) -> SingleColumns:
    """Return how well one flag or one measurement alone separates fives from ones on held-out sources.

    A flagged clip counts as bad. `best_flag` is the flag that does best on the held-out clips themselves, which
    favours it. The best measurement and its direction are chosen on the training sources.

    Args:
        train: clips of the training sources, rated 5 or 1.
        held: clips of the held-out sources, rated 5 or 1.
    """
    good_N = held.rating_N == 5
    flags = {name: auc_metrics(-held.flags_NF[:, i].astype(float), good_N, held.groups) for i, name in enumerate(FLAGS)}
    return {"flags": flags, "best_flag": _best_flag(flags), "best_measurement": _best_measurement(train, held)}


def _best_flag(flags: dict[str, AucMetrics]) -> BestFlag | None:
    known = {name: found["auc"] for name, found in flags.items() if found["auc"] is not None}
    if not known:
        return None
    best = max(known, key=lambda name: (known[name], name))
    return {"name": best, **flags[best]}


def _best_measurement(train: Examples, held: Examples) -> BestMeasurement | None:
    good_N = train.rating_N == 5
    best: tuple[int, int] | None = None
    best_auc = 0.0
    for i in range(train.features_NF.shape[1]):
        upward = auc(_column(train, i, 1), good_N)
        if math.isnan(upward):
            continue
        sign = 1 if upward >= 0.5 else -1
        reached = upward if sign > 0 else auc(_column(train, i, -1), good_N)
        if reached > best_auc:
            best, best_auc = (i, sign), reached
    if best is None:
        return None
    index, sign = best
    return {
        "name": train.feature_names[index],
        "direction": "high is good" if sign > 0 else "low is good",
        "auc_in_training": best_auc,
        **auc_metrics(_column(held, index, sign), held.rating_N == 5, held.groups),
    }


def _column(examples: Examples, index: int, sign: int) -> Floats:
    # a missing value counts as the median
    values = examples.features_NF[:, index]
    median = float(np.median(values[np.isfinite(values)])) if np.isfinite(values).any() else 0.0
    return sign * np.where(np.isfinite(values), values, median)
