"""Latent actions are inferred for every transition of a clip."""

from dataclasses import replace

import numpy as np
import pytest

from models.evaluation.codes import infer_clip_actions, measure_codes
from models.evaluation.held_out import HeldOutClip
from pipeline.arcade.platformer import ACTIONS
from pipeline.config import EvaluationConfig


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


@pytest.mark.parametrize(
    ("code_of", "direction", "jump"),
    [
        (dict(zip(ACTIONS, range(6), strict=True)), np.log(3), np.log(2)),
        ({"none": 0, "jump": 0, "left": 1, "jump-left": 1, "right": 2, "jump-right": 2}, np.log(3), 0),
        ({"none": 0, "left": 0, "right": 0, "jump": 1, "jump-left": 1, "jump-right": 1}, 0, np.log(2)),
        # a jump to the side that has the code of the plain jump says nothing of its direction
        ({"none": 0, "left": 1, "right": 2, "jump": 3, "jump-left": 3, "jump-right": 3}, np.log(3) / 2, np.log(2)),
    ],
    ids=["every action", "only the direction", "only the jump", "one jump"],
)
def test_what_codes_say_about_the_jump_is_counted_beside_the_direction(code_of, direction, jump):
    actions = np.arange(600) % len(ACTIONS)
    codes = np.array([code_of[ACTIONS[action]] for action in actions])
    clips = [HeldOutClip(f"v{k}-0", f"v{k}", 0, np.zeros((601, 1, 1, 3), np.uint8), actions) for k in range(3)]
    config = EvaluationConfig(shuffles=20, bootstrap_draws=50)
    found = measure_codes(clips, [codes] * 3, np.arange(600) % 4, 8, config)
    found = {name: found[f"latent_action_{name}"] for name in ("direction_information", "jump_information")} | {
        "whole": found["latent_action_mutual_information"], "possible": found["latent_action_jump_information_of"],
        "chance": found["latent_action_jump_information_shuffled_p95"],
    }  # fmt: skip
    value = {name: metric["value"] for name, metric in found.items()}
    assert value["direction_information"] == pytest.approx(direction, abs=1e-9)
    assert value["jump_information"] == pytest.approx(jump, abs=1e-9)
    assert value["whole"] == pytest.approx(direction + jump)
    assert value["possible"] == pytest.approx(np.log(2))
    assert value["chance"] < 0.02
    assert found["jump_information"]["num_sources"] == 3
