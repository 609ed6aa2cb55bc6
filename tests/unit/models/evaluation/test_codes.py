"""Latent actions are inferred for every transition of a clip."""

from dataclasses import replace

import numpy as np
import pytest

from models.evaluation.codes import infer_clip_actions, measure_codes
from models.evaluation.gates import check_gates
from models.evaluation.held_out import HeldOutClip
from pipeline.arcade.platformer import ACTIONS, platformer_actions
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
    # as many of each, in random order: a regular order would fit itself again when it is shifted
    actions = np.random.default_rng(0).permutation(np.arange(600) % len(ACTIONS))
    codes = np.array([code_of[ACTIONS[action]] for action in actions])
    clips = [HeldOutClip(f"v{k}-0", f"v{k}", 0, np.zeros((601, 1, 1, 3), np.uint8), actions) for k in range(8)]
    config = EvaluationConfig(shuffles=20, bootstrap_draws=50)
    found = measure_codes(clips, [codes] * 8, np.arange(600) % 4, 8, config)
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
    assert found["jump_information"]["num_sources"] == 8


def clips_of(actions):
    frames = np.zeros((len(actions[0]) + 1, 1, 1, 3), np.uint8)
    return [HeldOutClip(f"v{k}-0", f"v{k}", 0, frames, own) for k, own in enumerate(actions)]


@pytest.mark.parametrize(
    ("count", "shuffles", "says"),
    [
        (7, 20, "too few to tell: 7 sources have true actions that change, and 8 are needed to tell chance"),
        (8, 18, "too few to tell: evaluation.shuffles = 18 draws of chance: set it to 19 or more"),
    ],
)
def test_chance_that_cannot_be_told_leaves_the_information_and_neither_passes_nor_fails_a_gate(count, shuffles, says):
    rng = np.random.default_rng(0)
    actions = [rng.integers(0, 6, 60) for _ in range(count)]
    # a source in which nothing changes is no unit
    actions.append(np.zeros(60, np.int64))
    config = EvaluationConfig(shuffles=shuffles, bootstrap_draws=50)
    found = measure_codes(clips_of(actions), actions, np.arange(60), 6, config)
    name = "latent_action_mutual_information"
    assert found[name]["value"] > 1
    assert {found[name + end]["reason"] for end in ("_shuffled", "_shuffled_p95", "_p", "_ratio")} == {says}
    gate = check_gates(found, count, config)[f"{name}_ratio"]
    assert gate == {"passed": None, "value": None, "threshold": 10, "reason": says}


def test_latent_actions_that_never_change_are_no_better_than_chance_and_that_is_known():
    rng = np.random.default_rng(0)
    actions = [rng.integers(0, 6, 60) for _ in range(8)]
    config = EvaluationConfig(shuffles=20, bootstrap_draws=50)
    found = measure_codes(clips_of(actions), [np.zeros(60, np.int64)] * 8, np.arange(60), 6, config)
    assert found["latent_action_mutual_information_p"]["value"] == 1
    assert check_gates(found, 8, config)["latent_action_mutual_information_ratio"]["passed"] is False


def test_codes_that_follow_the_games_held_keys_pass_the_gate_of_ten_times_chance():
    rng = np.random.default_rng(0)
    actions = [np.asarray(platformer_actions(seed, 160)[:159], np.int64) for seed in range(8)]
    codes = [np.where(rng.random(159) < 0.03, rng.integers(0, 6, 159), own) for own in actions]
    config = EvaluationConfig(shuffles=200, bootstrap_draws=20)
    found = measure_codes(clips_of(actions), codes, np.arange(159), 6, config)
    assert found["latent_action_mutual_information"]["value"] == pytest.approx(1.5, abs=0.1)
    # chance of single transitions would make it 80 times
    assert 20 < found["latent_action_mutual_information_ratio"]["value"] < 40
    assert found["latent_action_mutual_information_p"]["value"] == pytest.approx(1 / 201)
