"""Rollouts under true actions: the latent action that stands for each, and what it is worth."""

import numpy as np
import pytest

from models.evaluation.codes import infer_clip_actions
from models.evaluation.control import measure_control
from models.evaluation.translate import translate
from models.evaluation.windows import cut_windows
from pipeline.config import EvaluationConfig

CONFIG = EvaluationConfig(windows_per_clip=2, bootstrap_draws=50, random_draws=1, maskgit_steps=1)
SOURCES = ["a", "b", "c"]


def lines(seed, count=40):
    return np.random.default_rng(seed).integers(0, 3, count)


def test_a_discrete_action_is_translated_by_the_latent_action_that_goes_with_it_elsewhere():
    truth = [lines(seed) for seed in range(3)]
    codes = [np.array([5, 2, 7])[actions] for actions in truth]
    for found, expected in zip(translate(truth, codes, SOURCES, 8), codes, strict=True):
        assert found.tolist() == expected.tolist()
    # of one's own recording nothing is learned: its own codes say something else
    odd = [codes[0], codes[1], np.zeros_like(codes[2])]
    assert translate(truth, odd, SOURCES, 8)[2].tolist() == codes[2].tolist()


def test_an_action_that_no_other_recording_has_gets_the_most_frequent_latent_action():
    truth = [np.array([0, 0, 1]), np.array([0, 9, 1])]
    codes = [np.array([4, 4, 6]), np.array([4, 4, 4])]
    assert translate(truth, codes, ["a", "b"], 8)[1].tolist() == [4, 4, 6]


def test_clips_without_truth_or_without_another_recording_are_not_translated():
    truth = [lines(0), None, lines(2)]
    codes = [lines(0), lines(1), lines(2)]
    assert [found is None for found in translate(truth, codes, SOURCES, 3)] == [False, True, False]
    assert translate(truth, codes, ["a", "b", "a"], 3) == [None, None, None]


@pytest.fixture(scope="module")
def figures(make_ring_world, ring_clips):
    """The figures of a controlled world whose recordings' true actions are known, all but those of one."""
    world = make_ring_world()
    codes, _ = infer_clip_actions(world, ring_clips)
    truth = [clip.actions for clip in ring_clips[:-1]] + [None]
    translated = translate(truth, codes, [clip.video_id for clip in ring_clips], world.num_actions)
    return measure_control(world, cut_windows(ring_clips, CONFIG), codes, CONFIG, translated=translated)


def test_a_world_that_does_what_it_is_told_follows_the_recordings_under_their_own_commands(figures):
    assert figures["psnr_t4_true"]["value"] == 60
    assert figures["delta_t_psnr_true"]["low"] > 5
    assert figures["delta_t_psnr_true_permuted"]["low"] > 5
    assert figures["delta_t_psnr_true"]["num_sources"] == 8, "the recording without truth does not count"
    assert figures["delta_t_psnr"]["num_sources"] == 9


def test_true_actions_of_another_recording_are_worth_nothing(make_ring_world, ring_clips):
    world = make_ring_world()
    codes, _ = infer_clip_actions(world, ring_clips)
    wrong = [np.random.default_rng(index).permutation(own) for index, own in enumerate(codes)]
    figures = measure_control(world, cut_windows(ring_clips, CONFIG), codes, CONFIG, translated=wrong)
    assert figures["delta_t_psnr_true_permuted"]["low"] < 3 < figures["delta_t_psnr_permuted"]["value"]


def test_without_kept_actions_there_are_no_such_figures(ring_world, ring_clips):
    codes, _ = infer_clip_actions(ring_world, ring_clips)
    for translated in ([], [None] * len(ring_clips)):
        figures = measure_control(ring_world, cut_windows(ring_clips, CONFIG), codes, CONFIG, translated=translated)
        assert not [name for name in figures if "true" in name]
