"""The calibration turns scores into shares, as plain numbers, and keeps their order."""

from __future__ import annotations

import numpy as np
import pytest

from classifier.training.calibration import apply_calibration, cross_fitted, fit_calibration
from classifier.training.folds import Fold
from classifier.training.reliability import calibration_metrics


def drawn(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scores, which clips are good, and the probability with which each is."""
    rng = np.random.default_rng(2)
    truth = rng.random(count)
    return np.log(truth / (1 - truth)) * 3 + 2, rng.random(count) < truth, truth


@pytest.mark.parametrize(("count", "method"), [(999, "platt"), (1000, "isotonic")])
def test_calibration_turns_scores_into_shares_and_is_numbers_alone(count: int, method: str) -> None:
    score, good, truth = drawn(count)
    calibration = fit_calibration(score, good)
    assert calibration["method"] == method
    probability = apply_calibration(calibration, score)
    assert np.abs(probability - truth).mean() < 0.06
    assert (np.diff(probability[np.argsort(score)]) >= 0).all()
    found = calibration_metrics(
        probability, good, np.ones(count), [f"s{i % 40}" for i in range(count)], method=method, weights="none"
    )
    assert found["expected_error"] < 0.06
    assert sum(bin_["clips"] for bin_ in found["bins"]) == count
    low, high = found["brier_interval"]
    assert low < found["brier"] < high
    assert apply_calibration(calibration, np.array([1e6]))[0] < 1
    assert np.isnan(apply_calibration(calibration, np.array([np.nan]))[0])


def test_clips_that_stand_for_more_clips_count_more() -> None:
    score, good, _ = drawn(400)
    # good clips were drawn ten times as often as they occur
    weighted = fit_calibration(score, good, np.where(good, 0.1, 1.0))
    plain = fit_calibration(score, good)
    rows = np.full(1, np.median(score))
    assert apply_calibration(weighted, rows)[0] < apply_calibration(plain, rows)[0] - 0.2


def test_a_score_that_tells_nothing_is_never_turned_around() -> None:
    score, good, _ = drawn(60)
    calibration = fit_calibration(-score, good)
    assert calibration["slope"] == 0


def test_the_probability_of_a_clip_by_which_calibration_is_judged_does_not_see_its_own_rating() -> None:
    score, good, _ = drawn(40)
    halves = [Fold(np.arange(20), np.arange(20, 40)), Fold(np.arange(20, 40), np.arange(20))]
    before = cross_fitted(score, good, np.ones(40), halves)
    changed = good.copy()
    changed[:20] = ~changed[:20]
    after = cross_fitted(score, changed, np.ones(40), halves)
    assert (after[:20] == before[:20]).all()
    assert (after[20:] != before[20:]).all()
