"""Latent actions are inferred for every transition of a clip."""

from dataclasses import replace

import numpy as np

from models.evaluation.codes import infer_clip_actions


def test_clip_actions_cover_every_transition_and_count_their_place_in_the_window(ring_world, ring_clips):
    ring_world.context = 7
    codes, times = infer_clip_actions(ring_world, ring_clips[:1])
    assert np.array_equal(codes[0], ring_clips[0].actions)
    assert times[:8].tolist() == [0, 1, 2, 3, 4, 5, 0, 1]


def test_episodes_of_different_lengths_are_read_to_their_last_transition(ring_world, ring_clips):
    ring_world.context = 7
    lengths = [3, 20, 8]
    clips = [
        replace(clip, frames_THWC=clip.frames_THWC[:length], actions=clip.actions[: length - 1])
        for clip, length in zip([ring_clips[0]] * 3, lengths, strict=True)
    ]
    codes, times = infer_clip_actions(ring_world, clips)
    assert [len(own) for own in codes] == [2, 19, 7]
    assert all(np.array_equal(own, clip.actions) for own, clip in zip(codes, clips, strict=True))
    assert len(times) == 19
