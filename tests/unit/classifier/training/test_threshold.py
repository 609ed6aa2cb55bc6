"""Thresholds against values that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from classifier.training.threshold import at_threshold, choose_threshold, precision_bound


def test_the_precision_bound_is_the_published_one():
    # 95 % one-sided, no failure among n: 0.05 ** (1 / n)
    assert precision_bound(29, 29, 0.95) == pytest.approx(0.05 ** (1 / 29))
    assert precision_bound(0, 5, 0.95) == 0


def test_the_threshold_is_the_lowest_certified_one():
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


def test_without_any_threshold_the_score_keeps_nothing():
    found = choose_threshold(np.array([0.9, 0.8]), np.array([False, True]), 0.9, 0.95)
    assert (found["threshold"], found["certified"], found["recall"]) == (1.0, False, 0.0)
    assert choose_threshold(np.zeros(0), np.zeros(0, bool), 0.9, 0.95)["threshold"] == 1.0


def test_clips_of_one_probability_fall_on_one_side():
    found = choose_threshold(np.full(40, 0.6), np.arange(40) < 39, 0.9, 0.5)
    assert found["threshold"] == 0.6
    assert found["precision"] == pytest.approx(39 / 40)


def test_metrics_at_a_threshold_are_null_where_undefined():
    good, groups = np.array([True, True, False, True]), ["a", "b", "c", "d"]
    found = at_threshold(np.array([0.9, 0.8, 0.7, 0.1]), good, groups, 0.7)
    assert (found["precision"], found["recall"], found["kept"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3), 3)
    assert found["precision_interval"][0] <= 2 / 3 <= found["precision_interval"][1]
    assert at_threshold(np.array([0.1]), np.array([True]), ["a"], 0.5)["precision"] is None
