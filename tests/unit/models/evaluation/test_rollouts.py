"""Rollouts of two arms differ by their actions alone."""

import dataclasses

import numpy as np
import pytest
import torch

from models.evaluation.control import measure_control
from models.evaluation.held_out import HeldOutClip
from models.evaluation.rollouts import decode_newest, draw_tokens, encode, hold_each_action, random_actions, roll_out
from models.evaluation.windows import cut_windows
from pipeline.config import EvaluationConfig

CONFIG = EvaluationConfig(windows_per_clip=2, maskgit_steps=3, token_temperature=0.5)


def test_both_arms_share_their_seeds(ring_world, ring_clips):
    tokens = encode(ring_world, cut_windows(ring_clips, CONFIG).video_NTHWC[:, :1])
    for seed in (0, 1):
        ring_world.calls.clear()
        for _ in range(2):
            roll_out(ring_world, tokens, np.zeros((len(tokens), 4), np.int64), CONFIG, seed=seed)
        seeds = [call[2] for call in ring_world.calls]
        assert seeds[: len(seeds) // 2] == seeds[len(seeds) // 2 :]
        assert seeds[0] == seed


def test_random_actions_keep_the_prompts_own_and_permute_within_the_clip():
    inferred = np.zeros((2, 7), np.int64)
    own = [np.full(30, 5), np.arange(30)]
    rng = np.random.default_rng(0)
    permuted = random_actions(inferred, own, arm="permuted", keep=3, num_actions=8, rng=rng)
    assert not permuted[:, :3].any()
    assert permuted[0, 3:].tolist() == [5, 5, 5, 5]
    assert len(set(permuted[1, 3:].tolist())) == 4
    categorical = random_actions(
        np.zeros((500, 7), np.int64), own * 250, arm="categorical", keep=3, num_actions=8, rng=rng
    )
    assert np.bincount(categorical[:, 3:].reshape(-1)).min() > 150
    assert not inferred.any()


@pytest.mark.parametrize(("window", "context"), [(16, 5), (5, 16), (4, 4)])
def test_the_same_actions_and_seed_lose_nothing_whatever_the_two_windows_are(make_world, window, context):
    world = make_world(window=window, context=context)
    noise = np.random.default_rng(0)
    clips = [
        HeldOutClip(f"v{k}-0", f"v{k}", 0, noise.integers(0, 256, (12, 9, 14, 3), np.uint8), None) for k in range(5)
    ]
    config = dataclasses.replace(CONFIG, maskgit_steps=2, random_draws=1, bootstrap_draws=20)
    # a clip whose actions are all the same has them in any order
    metrics = measure_control(world, cut_windows(clips, config), [np.ones(11, np.int64)] * 5, config)
    assert metrics["delta_t_psnr_permuted"] == {"value": 0.0, "low": 0.0, "high": 0.0, "num_sources": 5}


def test_a_frame_is_decoded_with_the_same_past_however_many_frames_are_asked_for(make_world):
    world = make_world(window=16, context=5)
    prompt = torch.randint(0, 20, (2, 4, 6), generator=torch.Generator().manual_seed(0))
    tokens = draw_tokens(world, prompt, np.zeros((2, 7), np.int64), CONFIG, seed=0)
    last = decode_newest(world, tokens, 1).astype(int)
    assert np.abs(last - decode_newest(world, tokens, 4)[:, -1:]).max() <= 1, "rounding of another shape at most"
    assert np.abs(last - world.decode(tokens[:, -5:])[:, -1:].numpy().astype(int)).max() > 10, "the past matters"


def test_actions_that_do_nothing_give_the_same_frames_when_each_is_held(make_world):
    world = make_world()
    with torch.no_grad():
        world.latent_actions.quantizer.codebook.copy_(world.latent_actions.quantizer.codebook[:1].clone())
    starts = np.random.default_rng(0).integers(0, 256, (3, 9, 14, 3), np.uint8)
    held = hold_each_action(world, starts, 3, CONFIG, seed=0)
    assert held.shape == (3, 3, 4, 9, 14, 3)
    assert (held == held[:, :1]).all()
    assert not (held[0] == held[1]).all()
