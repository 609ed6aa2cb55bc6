"""The measures tell a world that is controlled from one whose code only names the scene."""

import dataclasses

import numpy as np
import pytest
import torch

from models.evaluation.action_names import name_actions, view_shift
from models.evaluation.baselines import fit_patch_codebook
from models.evaluation.codes import infer_clip_actions, measure_codes
from models.evaluation.control import measure_control
from models.evaluation.gates import check_gates
from models.evaluation.reconstruction import measure_reconstruction
from models.evaluation.rollouts import encode, hold_each_action, random_actions, roll_out
from models.evaluation.windows import cut_windows
from pipeline.config import EvaluationConfig

CONFIG = EvaluationConfig(windows_per_clip=2, shuffles=50, bootstrap_draws=200, maskgit_steps=3, token_temperature=0.5)


def measure_all(world, clips, config=CONFIG):
    windows = cut_windows(clips, config)
    codes, times = infer_clip_actions(world, clips)
    frames = np.concatenate([clip.frames_THWC for clip in clips])
    return {
        **measure_reconstruction(world, windows, fit_patch_codebook(frames, patch=5, num_codes=16), config),
        **measure_control(world, windows, codes, config),
        **measure_codes(clips, codes, times, world.num_actions, config),
    }


@pytest.fixture(scope="module")
def controlled(make_ring_world, ring_clips):
    return measure_all(make_ring_world(), ring_clips)


def test_a_controlled_world_passes_every_gate(controlled):
    metrics = controlled
    assert metrics["psnr"]["value"] == 60
    assert metrics["psnr_t4"]["value"] == metrics["psnr_t1_prompt4"]["value"] == 60
    assert metrics["delta_t_psnr"]["low"] > 5
    assert metrics["delta_t_psnr_permuted"]["low"] > 5
    assert metrics["delta_t_psnr_permuted_prompt4"]["low"] > 5
    assert metrics["latent_action_mutual_information"]["value"] == pytest.approx(np.log(3), abs=0.05)
    assert metrics["latent_action_direction_information"]["value"] == pytest.approx(np.log(3), abs=0.05)
    assert metrics["codes_used"]["value"] == 3
    gates = check_gates({**metrics, "steady_actions": {"value": 2}}, 9, CONFIG)
    assert all(gate["passed"] for gate in gates.values())


def test_a_code_that_names_the_scene_scores_in_the_papers_arm_and_fails_the_gate(scene_world, ring_clips):
    metrics = measure_all(scene_world, ring_clips)
    assert metrics["delta_t_psnr"]["low"] > 0.5
    assert metrics["delta_t_psnr_permuted"] == {"value": 0.0, "low": 0.0, "high": 0.0, "num_sources": 9}
    assert metrics["code_entropy_within_clip"]["value"] == 0
    assert metrics["code_entropy"]["value"] > 0.6
    gates = check_gates(metrics, 9, CONFIG)
    assert not gates["delta_t_psnr_permuted"]["passed"]
    assert not gates["latent_action_mutual_information"]["passed"]
    assert not gates["latent_action_mutual_information_ratio"]["passed"]


def test_few_sources_fail_their_gate_and_the_rest_is_measured_all_the_same(ring_world, ring_clips):
    metrics = measure_all(ring_world, ring_clips[:2])
    assert metrics["delta_t_psnr_permuted"]["num_sources"] == 2
    assert check_gates(metrics, 2, CONFIG)["enough_sources"] == {"passed": False, "value": 2, "threshold": 8}


def test_without_true_actions_the_information_is_absent_with_a_reason(ring_world, ring_clips):
    metrics = measure_all(ring_world, [dataclasses.replace(clip, actions=None) for clip in ring_clips])
    absent = metrics["latent_action_mutual_information"]
    assert absent["value"] is None
    assert "no true actions" in absent["reason"]
    assert check_gates(metrics, 9, CONFIG)["latent_action_mutual_information"]["passed"] is None
    assert metrics["delta_t_psnr_permuted"]["value"] > 0


def test_the_same_seed_gives_the_same_metrics_and_the_settings_reach_the_model(controlled, ring_world, ring_clips):
    assert measure_all(ring_world, ring_clips) == controlled
    assert {(steps, temperature) for steps, temperature, _ in ring_world.calls} == {(3, 0.5)}


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


def test_clip_actions_cover_every_transition_and_count_their_place_in_the_window(ring_world, ring_clips):
    ring_world.context = 7
    codes, times = infer_clip_actions(ring_world, ring_clips[:1])
    assert np.array_equal(codes[0], ring_clips[0].actions)
    assert times[:8].tolist() == [0, 1, 2, 3, 4, 5, 0, 1]


def test_a_view_that_moves_is_named_after_where_it_goes(ring_world, ring_clips):
    starts = np.stack([ring_clips[0].frames_THWC[0], ring_clips[1].frames_THWC[0]])
    held = hold_each_action(ring_world, starts, 3, CONFIG, seed=0)
    assert held.shape == (2, 4, 4, 20, 30, 3)
    assert np.array_equal(held[0, 3, 0], starts[0])
    names = name_actions(held)
    assert [name.symbol for name in names] == ["•", "←", "→", "•"]
    assert names[2].right == pytest.approx(4)
    assert names[2].agreement == 1


def test_an_action_that_does_now_this_now_that_gets_no_name(ring_world, ring_clips):
    true = ring_clips[0].frames_THWC  # runs left and right at random
    names = name_actions(np.stack([true, true[::-1]])[:, None])
    assert names[0].label == "nothing steady"
    assert not names[0].moves


def test_an_action_that_moves_the_view_once_and_then_stops_is_not_said_to_stand(ring_world):
    offsets = torch.tensor([[20, 24, 24, 24, 24], [20, 20, 20, 20, 20]])
    names = name_actions(ring_world.pictures[offsets][:, None].numpy())
    assert names[0].label == "nothing steady"
    assert name_actions(ring_world.pictures[offsets[1:]][:, None].numpy())[0].label == "view stands"


def test_the_shift_of_the_view_is_found_in_both_axes():
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    assert view_shift(picture[10:40, 10:60], picture[13:43, 4:54]) == (-6, 3)
    assert view_shift(picture, picture) == (0, 0)
