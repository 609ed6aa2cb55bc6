"""Probabilities, thresholds and intervals against values that can be worked out by hand or by scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from classifier.training.calibration import (
    apply_platt,
    at_threshold,
    auc,
    auc_figures,
    choose_threshold,
    clip_features,
    fit_platt,
    precision_bound,
    reliability,
    source_interval,
)


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
    low, high = auc_figures(score, good, groups)["interval"]
    alone_low, alone_high = auc_figures(score, good, [str(i) for i in range(600)])["interval"]
    assert high - low > 2 * (alone_high - alone_low)
    assert auc_figures(score, good, groups)["interval"] == (low, high)
    assert source_interval(lambda weight: weight.sum(1), ["a", "b"] * 5) is None


def test_calibration_turns_logits_into_shares_and_is_numbers_alone():
    rng = np.random.default_rng(2)
    truth = rng.random(4000)
    good = rng.random(4000) < truth
    logits = np.log(truth / (1 - truth))[:, None] * 3 + 2 + rng.normal(0, 0.01, (4000, 4))
    calibration = fit_platt(clip_features(logits), good)
    assert sorted(calibration) == ["bias", "features", "weights"]
    probability = apply_platt(calibration, clip_features(logits))
    assert np.abs(probability - truth).mean() < 0.03
    bins, error = reliability(probability, good)
    assert error < 0.04
    assert sum(bin_["clips"] for bin_ in bins) == 4000
    assert apply_platt(calibration, np.array([[1e6, 1e6, 0.0]]))[0] < 1


def test_the_precision_bound_is_the_published_one():
    # 95 % one-sided, no failure among n: 0.05 ** (1 / n)
    assert precision_bound(29, 29, 0.95) == pytest.approx(0.05 ** (1 / 29))
    assert precision_bound(0, 5, 0.95) == 0


def test_the_threshold_is_the_lowest_certified_cut():
    probability = np.linspace(0.99, 0.01, 100)
    good = np.arange(100) < 50
    found = choose_threshold(probability, good, 0.9, 0.95)
    kept = probability >= found["threshold"]
    assert found["certified"]
    assert found["bound"] >= 0.9
    # one clip more and the bound would fall below the target
    assert precision_bound(50, kept.sum() + 1, 0.95) < 0.9
    assert found["recall"] == 1


def test_few_labels_fall_back_to_the_measured_precision_and_say_so():
    found = choose_threshold(np.array([0.9, 0.8, 0.7, 0.2]), np.array([True, True, True, False]), 0.9, 0.95)
    assert (found["threshold"], found["certified"], found["precision"]) == (0.7, False, 1.0)


def test_no_cut_at_all_keeps_nothing_by_score():
    found = choose_threshold(np.array([0.9, 0.8]), np.array([False, True]), 0.9, 0.95)
    assert (found["threshold"], found["certified"], found["recall"]) == (1.0, False, 0.0)
    assert choose_threshold(np.zeros(0), np.zeros(0, bool), 0.9, 0.95)["threshold"] == 1.0


def test_clips_of_one_probability_fall_on_one_side():
    found = choose_threshold(np.full(40, 0.6), np.arange(40) < 39, 0.9, 0.5)
    assert found["threshold"] == 0.6
    assert found["precision"] == pytest.approx(39 / 40)


def test_figures_at_a_threshold_are_null_where_undefined():
    good, groups = np.array([True, True, False, True]), ["a", "b", "c", "d"]
    found = at_threshold(np.array([0.9, 0.8, 0.7, 0.1]), good, groups, 0.5)
    assert (found["precision"], found["recall"], found["kept"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3), 3)
    assert found["precision_interval"][0] <= 2 / 3 <= found["precision_interval"][1]
    assert at_threshold(np.array([0.1]), np.array([True]), ["a"], 0.5)["precision"] is None
