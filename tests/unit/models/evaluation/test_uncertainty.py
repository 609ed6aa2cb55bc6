"""The rank correlation tells a world that knows when it guesses from one that is sure of everything, or counts time."""

import dataclasses

import numpy as np
import pytest
import torch

from models.evaluation.codes import infer_clip_actions
from models.evaluation.uncertainty import NAMES, WatchedFrames, calibrate, measure_uncertainty
from models.uncertainty.calibration import read_calibration
from models.world.signals import FEATURES
from pipeline.config import EvaluationConfig

CONFIG = EvaluationConfig(prompt_frames=2, doubt_windows=2, doubt_frames=10, bootstrap_draws=100)
POOLED, WITHIN, TIME = NAMES


def rollouts(tells):
    """Frames of 8 sources whose error grows with time and differs by window; `tells` makes the signal of both."""
    rng = np.random.default_rng(3)
    windows, count = 16, 12
    t, skill = np.arange(1, count + 1)[None], rng.random((windows, 1))
    mse = 0.001 * t + 0.01 * skill * t / count
    signal = tells(t + 0 * skill, mse, rng)
    features = np.repeat(signal[..., None], len(FEATURES), 2)
    return WatchedFrames(features, mse, [f"v{place // 2}" for place in range(windows)])


def values(frames):
    return {name: metric["value"] for name, metric in calibrate(frames, CONFIG).metrics.items()}


def test_a_world_that_knows_its_error_is_ranked_by_it_within_equal_time_too():
    found = values(rollouts(lambda t, mse, rng: mse * np.exp(0.05 * rng.normal(size=mse.shape))))
    assert found[POOLED] > 0.9
    assert found[WITHIN] > 0.9
    assert 0.5 < found[TIME] < found[POOLED]


def test_a_score_that_only_counts_time_correlates_as_time_does_and_not_within_equal_time():
    measured = calibrate(rollouts(lambda t, mse, rng: t.astype(float)), CONFIG)
    found = {name: metric["value"] for name, metric in measured.metrics.items()}
    assert found[POOLED] == pytest.approx(found[TIME], abs=0.02)
    assert found[WITHIN] is None
    assert "same in all frames" in measured.metrics[WITHIN]["reason"]


def test_a_signal_that_is_noise_has_no_correlation():
    found = values(rollouts(lambda t, mse, rng: rng.random(mse.shape)))
    assert found[POOLED] is None or abs(found[POOLED]) < 0.3


def test_a_world_that_is_the_surer_the_worse_it_is_has_no_calibration():
    measured = calibrate(rollouts(lambda t, mse, rng: -mse), CONFIG)
    assert measured.calibration is None
    assert measured.metrics[POOLED]["value"] is None


def test_one_source_is_scored_by_no_other():
    frames = rollouts(lambda t, mse, rng: mse)
    measured = calibrate(dataclasses.replace(frames, sources=["v0"] * len(frames.sources)), CONFIG)
    assert "two held-out sources" in measured.metrics[POOLED]["reason"]
    assert measured.metrics[POOLED]["value"] is None


def test_the_calibration_says_what_it_was_made_from_and_can_be_read():
    frames = rollouts(lambda t, mse, rng: mse)
    measured = calibrate(frames, CONFIG).as_json()
    about = measured["doubt"]
    assert (about["frames"], about["windows"], about["sources"]) == (12, 16, 8)
    assert about["rank_correlation"] == measured[POOLED]["value"]
    assert measured[POOLED]["low"] < measured[POOLED]["value"] <= measured[POOLED]["high"]
    assert about["sampling"]["past_window"] == "prefill"
    calibration = read_calibration(about)
    # nine of ten first frames are better than the limit
    assert (frames.mse_NS[:, 0] > calibration.limit_mse).mean() == pytest.approx(0.1, abs=0.05)


class FogWorld:
    """A world that forgets where it is, some windows sooner than others, and whose signal is the fog that it drew."""

    def __init__(self, world):
        self._world = world

    def __getattr__(self, name):
        return getattr(self._world, name)

    def watch(self, prompt, latent_actions, *, sampling, generator):
        frames = self._world.play(prompt, latent_actions, sampling=sampling, generator=generator).float()
        batch, count = frames.shape[:2]
        fog = (torch.rand(batch, 1, generator=generator) * torch.arange(1, count + 1) / count).clamp(0, 1)
        shape = (batch, count, 1, 1, 1)
        shown = frames * (1 - fog.view(shape)) + 128 * fog.view(shape)
        return shown.round().to(torch.uint8), fog[..., None].repeat(1, 1, len(FEATURES)).double()


def test_rollouts_of_a_foggy_world_are_ranked_by_its_fog(ring_world, ring_clips):
    codes, _ = infer_clip_actions(ring_world, ring_clips)
    found = measure_uncertainty(FogWorld(ring_world), ring_clips, codes, CONFIG)
    assert found.metrics[POOLED]["value"] > 0.9
    assert found.metrics[WITHIN]["value"] > 0.8
    assert found.metrics[POOLED]["num_sources"] == 9


def test_clips_that_are_too_short_leave_it_unknown_with_the_length(ring_world, ring_clips):
    codes, _ = infer_clip_actions(ring_world, ring_clips)
    found = measure_uncertainty(ring_world, ring_clips, codes, dataclasses.replace(CONFIG, doubt_frames=40))
    assert found.metrics[POOLED]["reason"] == "no held-out clip has 42 frames"
    assert found.calibration is None
