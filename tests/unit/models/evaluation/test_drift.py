"""Long rollouts say what keeping the past as it was made costs, and nothing where it costs nothing."""

import dataclasses

import numpy as np
import pytest

from models.evaluation.codes import infer_clip_actions
from models.evaluation.drift import measure_drift
from models.evaluation.rollouts import encode
from pipeline.config import EvaluationConfig

CONFIG = EvaluationConfig(bootstrap_draws=100, maskgit_steps=1, token_temperature=0, prompt_frames=2, drift_contexts=3)
NAMES = ("drift_psnr_prefill", "drift_psnr_ring", "drift_ring_below_prefill")
PER_FRAME = 27  # context 9, 3 times


def drift_of(world, clips, config=CONFIG):
    codes, _ = infer_clip_actions(world, clips)
    return measure_drift(world, clips, codes, config).as_json()


@pytest.fixture
def slipping_world(ring_world, monkeypatch):
    """A world that shows another picture once its past is a ring and its window (of nine) is full."""
    play = ring_world.play

    def slips(prompt, actions, *, sampling, generator):
        video = play(prompt, actions, sampling=sampling, generator=generator)
        if sampling.past_window == "ring":
            left = ring_world.context - prompt.shape[1]
            video[:, left:] = video[:, left:] // 2
        return video

    monkeypatch.setattr(ring_world, "play", slips)
    return ring_world


def test_a_world_that_follows_its_actions_stays_true_in_both_modes(ring_world, ring_clips):
    figures = drift_of(ring_world, ring_clips)
    assert figures["drift_psnr_prefill"]["value"] == figures["drift_psnr_ring"]["value"] == 60
    assert figures["drift_ring_below_prefill"] == {"value": 0.0, "low": 0.0, "high": 0.0, "num_sources": 8}
    assert figures["drift"]["context"] == 9
    assert [len(figures["drift"][key]) for key in NAMES] == [PER_FRAME] * 3


def test_what_a_ring_loses_is_measured_from_the_frame_on_at_which_the_window_is_full(slipping_world, ring_clips):
    figures = drift_of(slipping_world, ring_clips)
    lost = [step["value"] for step in figures["drift"]["drift_ring_below_prefill"]]
    # two frames are given, so seven more are drawn before the first one leaves
    assert lost[:7] == [0] * 7
    assert min(lost[7:]) > 20
    assert figures["drift_psnr_prefill"]["value"] == 60
    assert figures["drift_ring_below_prefill"]["value"] == pytest.approx(np.mean(lost[7:]))
    assert figures["drift_psnr_ring"]["value"] == pytest.approx(60 - np.mean(lost[7:]))
    assert figures["drift_ring_below_prefill"]["low"] > 20


def test_both_modes_get_the_same_prompt_actions_and_seed_and_eight_sources_at_most(ring_world, ring_clips, monkeypatch):
    asked = []
    play = ring_world.play

    def noted(prompt, actions, *, sampling, generator):
        asked.append((sampling.past_window, prompt.clone(), actions.clone(), generator.initial_seed()))
        return play(prompt, actions, sampling=sampling, generator=generator)

    monkeypatch.setattr(ring_world, "play", noted)
    drift_of(ring_world, [*ring_clips, ring_clips[0]], dataclasses.replace(CONFIG, past_window="ring"))
    (mode, prompt, actions, seed), (other_mode, *other) = asked
    assert (mode, other_mode) == ("prefill", "ring")
    assert prompt.shape == (8, 2, 1)
    # the middle of each clip
    frames = ring_clips[0].frames_THWC
    start = (len(frames) - 2 - PER_FRAME) // 2
    assert prompt[0].equal(encode(ring_world, frames[None, start : start + 2])[0])
    assert actions[0].tolist() == ring_clips[0].actions[start : start + 1 + PER_FRAME].tolist()
    assert prompt.equal(other[0])
    assert actions.equal(other[1])
    assert seed == other[2]


def test_clips_that_are_too_short_are_named_as_the_reason(ring_world, ring_clips):
    figures = drift_of(ring_world, ring_clips, dataclasses.replace(CONFIG, drift_contexts=5))
    assert figures["drift_psnr_ring"]["value"] is None
    assert figures["drift_psnr_ring"]["reason"] == "no held-out clip has 47 frames"
    assert "drift" not in figures
