"""The calibration turns logits into shares, as plain numbers."""

from __future__ import annotations

import numpy as np

from classifier.training.calibration import apply_platt, clip_features, fit_platt, reliability


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
