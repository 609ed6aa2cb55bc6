"""The measures tell a world that is controlled from one whose code only names the scene."""

import dataclasses

import numpy as np
import pytest

from models.evaluation.baselines import fit_patch_codebook
from models.evaluation.codes import infer_clip_actions, measure_codes
from models.evaluation.control import measure_control
from models.evaluation.gates import GATES, check_gates
from models.evaluation.reconstruction import measure_reconstruction
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
    assert metrics["latent_action_mutual_information"]["value"] == pytest.approx(np.log(3), abs=0.05)
    assert metrics["latent_action_direction_information"]["value"] == pytest.approx(np.log(3), abs=0.05)
    assert metrics["codes_used"]["value"] == 3
    known = {"steady_actions": 2, "distinct_actions": 5, "doubt_rank_correlation": 0.7}
    gates = check_gates({**metrics, **{name: {"value": value} for name, value in known.items()}}, 9, CONFIG)
    # three actions hold log 3 = 1.1 nat, the platformer's six up to 1.8
    assert [name for name, gate in gates.items() if gate["passed"] is False] == ["latent_action_mutual_information"]
    # there is no character to look for
    assert {name for name, gate in gates.items() if gate["passed"] is None} == {
        name for name in GATES if name.startswith("character")
    }


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
    assert absent["value"] is metrics["latent_action_jump_information"]["value"] is None
    assert "no true actions" in absent["reason"]
    gates = check_gates({**metrics, "distinct_actions": {"value": 2}}, 9, CONFIG)
    assert gates["latent_action_mutual_information"]["passed"] is None
    assert gates["distinct_actions"] == {"passed": None, "value": None, "threshold": 5}
    assert metrics["delta_t_psnr_permuted"]["value"] > 0


def test_the_same_seed_gives_the_same_metrics_and_the_settings_reach_the_model(controlled, ring_world, ring_clips):
    assert measure_all(ring_world, ring_clips) == controlled
    assert {(steps, temperature) for steps, temperature, _ in ring_world.calls} == {(3, 0.5)}
