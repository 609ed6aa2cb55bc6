"""Latent actions are inferred for every transition of a clip."""

import numpy as np

from models.evaluation.codes import infer_clip_actions


def test_clip_actions_cover_every_transition_and_count_their_place_in_the_window(ring_world, ring_clips):
    ring_world.context = 7
    codes, times = infer_clip_actions(ring_world, ring_clips[:1])
    assert np.array_equal(codes[0], ring_clips[0].actions)
    assert times[:8].tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
