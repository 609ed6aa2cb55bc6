"""A latent action is named after what is seen while it is held down, and its twins are found."""

import numpy as np
import pytest
import torch

from models.evaluation.action_names import name_actions
from models.evaluation.held_actions import measure_held_actions
from models.evaluation.rollouts import hold_each_action
from models.evaluation.view_shift import view_shift
from pipeline.config import EvaluationConfig
from tests.made_up_worlds import roll_out, roll_outs

CONFIG = EvaluationConfig(maskgit_steps=3, token_temperature=0.5, bootstrap_draws=200)
PLATFORMER = ["stand", "left", "right", "jump", "jump left", "jump right", "dead", "left"]


def symbols(named):
    return "".join(name.symbol for name in named.names)


def test_a_view_that_moves_is_named_after_where_it_goes(ring_world, ring_clips):
    starts = np.stack([ring_clips[0].frames_THWC[0], ring_clips[1].frames_THWC[0]])
    held = hold_each_action(ring_world, starts, 3, CONFIG, seed=0)
    assert held.shape == (2, 4, 4, 20, 30, 3)
    assert np.array_equal(held[0, 3, 0], starts[0])
    names = name_actions(held).names
    assert [name.symbol for name in names] == ["•", "←", "→", "•"]
    assert [name.label for name in names[:3]] == ["view stands", "view moves left", "view moves right"]
    assert names[2].right == pytest.approx(4)
    assert names[2].agreement == 1


def test_an_action_that_does_now_this_now_that_gets_no_name(ring_world, ring_clips):
    true = ring_clips[0].frames_THWC  # runs left and right at random
    name = name_actions(np.stack([true, true[::-1]])[:, None]).names[0]
    assert (name.label, name.moves, name.effect_of_its_own) == ("nothing steady", False, False)


def test_an_action_that_moves_the_view_once_and_then_stops_is_not_said_to_stand(ring_world):
    offsets = torch.tensor([[20, 24, 24, 24, 24], [20, 20, 20, 20, 20]])
    names = name_actions(ring_world.pictures[offsets][:, None].numpy()).names
    assert names[0].label == "nothing steady"
    assert name_actions(ring_world.pictures[offsets[1:]][:, None].numpy()).names[0].label == "view stands"


def test_the_shift_of_the_view_is_found_in_both_axes():
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    assert view_shift(picture[10:40, 10:60], picture[13:43, 4:54]) == (-6, 3)
    assert view_shift(picture, picture) == (0, 0)
    assert view_shift(picture, 255 - picture) == (0, 0), "another picture is no movement"


def test_a_hero_that_runs_before_a_fixed_camera_is_not_taken_for_the_view():
    held = roll_out(["right", "left", "jump"], start=1)
    assert {view_shift(*own[step : step + 2]) for own in held for step in range(3)} == {(0, 0)}
    followed = roll_out(["right"], start=1, camera="follows")[0]
    assert view_shift(*followed[:2]) == (8, 0)


@pytest.mark.parametrize(
    ("camera", "right", "runs"), [("fixed", "runs right", 0.0), ("follows", "view moves right", 8.0)]
)
def test_runs_and_jumps_are_named_whether_the_camera_follows_or_not(camera, right, runs):
    named = name_actions(roll_outs(PLATFORMER, camera=camera, in_air=(2,)))
    assert symbols(named) == "•←→↑↖↗•←"
    names = named.names
    assert [name.label for name in names[:6:5]] == ["stands", f"rises, {right}"]
    assert (names[3].label, names[2].label) == ("rises", right)
    assert (names[2].right, names[2].runs, names[2].rises) == (runs, 8, 0)
    assert (names[5].rises, names[3].rises, names[3].runs) == (8, 8, 0)
    assert [name.twin_of for name in names] == [None] * 6 + [0, 1]
    assert [name.group for name in names] == [0, 1, 2, 3, 4, 5, 0, 1]
    assert "KeyW+KeyD" in names[5].keys
    assert "Space" in names[3].keys
    assert names[7].keys == () == names[0].keys
    found = named.distinct([f"v{start}" for start in range(6)], CONFIG)
    assert (found["value"], found["high"], found["num_sources"]) == (6, 6, 6)


def test_what_falls_is_named_so_unless_it_falls_under_every_action():
    effects = ["stand", "fall", "right"]
    assert symbols(name_actions(roll_outs(effects, starts=4))) == "•↓→"
    assert symbols(name_actions(roll_outs(effects, starts=4, in_air=(0,)))) == "•↓→"
    assert symbols(name_actions(roll_outs(["stand", "right"], starts=4, in_air=range(4)))) == "•→"


def test_twins_are_found_though_each_loses_other_parts_of_the_hero():
    named = name_actions(roll_outs(PLATFORMER, noise=0.08))
    assert symbols(named) == "•←→↑↖↗•←"
    assert [name.twin_of for name in named.names] == [None] * 6 + [0, 1]


def test_an_action_that_only_repaints_has_an_effect_and_no_direction():
    named = name_actions(roll_outs(["stand", "right", "repaint", "dead"]))
    assert symbols(named) == "•→◐•"
    assert [name.twin_of for name in named.names] == [None, None, None, 0]
    assert named.names[2].keys == ()


def test_an_action_that_takes_something_away_is_told_from_standing():
    named = name_actions(roll_outs(["gone", "stand", "right", "left"]))
    assert symbols(named) == "◐•→←"
    assert named.names[0].effect_of_its_own


def test_where_no_action_does_anything_all_are_twins_of_one():
    named = name_actions(roll_outs(["dead"] * 4))
    assert symbols(named) == "••••"
    assert [name.twin_of for name in named.names] == [None, 0, 0, 0]
    assert named.distinct([str(start) for start in range(6)], CONFIG)["value"] == 1


def test_a_difference_that_chance_makes_too_is_no_effect():
    effects = ["stand", "stand", "right"]
    held, again = (roll_outs(effects, starts=6, noise=0.4, blocks=6, seed=seed) for seed in (0, 1))
    without, measured = name_actions(held), name_actions(held, again[:3])
    assert [name.twin_of for name in without.names[:2]] == [None, None]
    assert sum(name.twin_of is not None for name in measured.names[:2]) == 1


def test_an_effect_that_shows_from_some_starts_widens_the_interval():
    steady, other = roll_outs(["stand", "right"], starts=6), roll_outs(["stand", "stand"], starts=6)
    held = np.concatenate([steady[:4], other[4:]])
    sources = [f"v{start}" for start in range(6)]
    found = name_actions(held).distinct(sources, CONFIG)
    assert (found["low"], found["high"], found["num_sources"]) != (found["value"], found["value"], 6)


def test_a_worlds_own_actions_are_counted_with_the_sources_that_they_were_tried_on(ring_world, ring_clips):
    found = measure_held_actions(ring_world, [*ring_clips[:3], *ring_clips[:1]], CONFIG)
    assert [name.twin_of for name in found.names] == [None, None, None, 0]
    assert found.metrics["steady_actions"] == {"value": 2}
    assert found.metrics["distinct_actions"] == {
        "value": 3,
        "low": None,
        "high": None,
        "num_sources": 3,
        "reason": "too few to tell an interval: 3 sources, and 5 are needed",
    }
    assert found.shown_ATHWC.shape[:2] == (4, 1 + CONFIG.rollout_frames)
    one = measure_held_actions(ring_world, ring_clips[:1], EvaluationConfig(rollout_frames=1, bootstrap_draws=9))
    assert one.shown_ATHWC.shape[:2] == (4, 2)
    assert one.metrics["distinct_actions"]["value"] == 3
