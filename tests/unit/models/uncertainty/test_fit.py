"""A calibration finds the signal that knows the error, and the rank correlation counts what it should."""

import json

import numpy as np
import pytest

from models.uncertainty.calibration import read_calibration
from models.uncertainty.fit import (
    correlation_of_moments,
    cross_fitted_scores,
    fit_calibration,
    moments_by_source,
    ranks,
    ranks_within,
)
from models.world.signals import FEATURES

NUM = 400


def spearman(x, y):
    return float(correlation_of_moments(moments_by_source(ranks(x), ranks(y), np.zeros(len(x)))))


@pytest.fixture
def frames():
    """Features of which one knows the error, one falls where it rises, and the others know nothing."""
    rng = np.random.default_rng(0)
    features, mse = rng.random((NUM, len(FEATURES))), rng.random(NUM) ** 4
    features[:, 3] = np.exp(mse + 0.05 * rng.normal(size=NUM))
    features[:, 1] = -mse
    return features, mse


def test_the_signal_that_knows_the_error_gets_the_weight_and_one_that_falls_gets_none(frames):
    fitted = fit_calibration(*frames, limit_mse=0.2)
    assert fitted.weights_F[3] > 0.8
    assert fitted.weights_F[1] == 0
    assert spearman(fitted.score(frames[0]), frames[1]) > 0.8


def test_the_expected_error_never_falls_and_is_the_mean_of_frames_of_that_score(frames):
    features, mse = frames
    fitted = fit_calibration(features, mse, limit_mse=0.2)
    assert (np.diff(fitted.mse_C) >= 0).all()
    expected = fitted.expected_mse(fitted.score(features))
    assert expected.mean() == pytest.approx(mse.mean(), rel=0.1)
    high = fitted.score(features) >= fitted.threshold
    assert mse[high].mean() > 0.2 > mse[~high].mean()


@pytest.mark.parametrize(("limit", "threshold"), [(-1.0, 0.0), (1.0, None)])
def test_a_limit_that_all_frames_or_none_exceed_gives_the_threshold_at_the_end(frames, limit, threshold):
    assert fit_calibration(*frames, limit_mse=limit).threshold == threshold


def test_no_signal_that_rises_with_the_error_gives_no_calibration(frames):
    features, mse = frames
    assert fit_calibration(-np.stack([mse] * len(FEATURES), 1), mse, 0.2) is None
    assert fit_calibration(np.ones_like(features), mse, 0.2) is None


def test_each_frame_is_scored_by_a_calibration_of_other_sources(frames):
    features, mse = frames
    source = np.arange(NUM) % 4
    scores = cross_fitted_scores(features, mse, source)
    for name in range(4):
        other = source != name
        fitted = fit_calibration(features[other], mse[other], 0.0)
        np.testing.assert_allclose(scores[~other], fitted.score(features[~other]))
    assert np.isnan(cross_fitted_scores(features, mse, np.zeros(NUM))).all()


def test_a_calibration_goes_through_json_and_scores_alike(frames):
    fitted = fit_calibration(*frames, limit_mse=0.2)
    text = json.dumps(fitted.as_json(), allow_nan=False)
    assert len(text) < 4000
    again = read_calibration(json.loads(text))
    np.testing.assert_allclose(again.score(frames[0]), fitted.score(frames[0]), atol=1e-4)
    assert again.threshold == pytest.approx(fitted.threshold, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": None}, "lacks"),
        ({"weights": dict.fromkeys(FEATURES, 1.0)}, "cannot be"),
        ({"weights": {**dict.fromkeys(FEATURES, 0.0), "entropy": float("nan")}}, "finite"),
        ({"curve": {"score": [0.0, 1.0], "mse": [1.0]}}, "different lengths"),
        ({"curve": {"score": [0.0, 1.0], "mse": [1.0, 0.5]}}, "falls"),
        ({"curve": {"score": [], "mse": []}}, "no list"),
        ({"quantiles": {"entropy": [0.0]}}, "quantiles of residual"),
        ({"limit_mse": "0.1"}, "finite"),
    ],
)
def test_what_is_no_calibration_is_refused(frames, change, said):
    with pytest.raises(ValueError, match=said):
        read_calibration({**fit_calibration(*frames, limit_mse=0.2).as_json(), **change})


def test_a_calibration_of_other_signals_is_none(frames):
    found = fit_calibration(*frames, limit_mse=0.2).as_json()
    assert read_calibration({**found, "features": ["entropy"]}) is None
    assert read_calibration({**found, "decay": 0.5}) is None
    assert read_calibration(None) is None


def test_ranks_share_ties_and_within_groups_they_forget_the_group():
    np.testing.assert_array_equal(ranks(np.array([3.0, 1.0, 3.0, 2.0])), [2.5, 0, 2.5, 1])
    within = ranks_within(np.array([1.0, 2.0, 11.0, 10.0]), np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(within, [-0.25, 0.25, 0.25, -0.25])
