"""Rollouts of two arms differ by their actions alone."""

import numpy as np

from models.evaluation.rollouts import encode, random_actions, roll_out
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
