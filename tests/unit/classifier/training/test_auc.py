"""The AUC is scikit-learn's, and its interval is one of sources."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from classifier.training.auc import Sides, auc, auc_metrics
from classifier.training.intervals import source_interval


def test_auc_is_scikit_learns_also_with_ties():
    rng = np.random.default_rng(0)
    score = rng.integers(0, 10, 300).astype(float)
    good = rng.random(300) < 0.3 + score / 20
    assert auc(score, good) == pytest.approx(roc_auc_score(good, score))
    assert math.isnan(auc(score, np.ones(300, bool)))
    assert math.isnan(auc(np.zeros(0), np.zeros(0, bool)))


def test_the_interval_is_of_sources_not_of_clips():
    rng = np.random.default_rng(1)
    groups = [f"s{i // 50}" for i in range(600)]
    good = np.repeat(rng.random(12) < 0.5, 50)
    score = np.repeat(rng.normal(0, 1, 12), 50) + good
    sides = Sides(good, ~good)
    low, high = auc_metrics(score, sides, groups)["interval"]
    alone_low, alone_high = auc_metrics(score, sides, [str(i) for i in range(600)])["interval"]
    assert high - low > 2 * (alone_high - alone_low)
    assert auc_metrics(score, sides, groups)["interval"] == (low, high)
    assert source_interval(lambda weight: weight.sum(1), ["a", "b"] * 5) is None
