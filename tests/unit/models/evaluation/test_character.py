"""The figures of the character follow what is in the pixels: who dissolves, floats or stands still is noticed."""

import dataclasses

import numpy as np
import pytest

from models.evaluation.character import AFTER, PLACES, measure_character
from models.evaluation.codes import true_action_shares
from models.evaluation.judge import judge
from pipeline.arcade import seen
from pipeline.arcade.platformer import ACTIONS, advance, make_level
from pipeline.arcade.truth import TrueStates
from pipeline.config import EvaluationConfig
from tests.game_world import GameWorld, game_clip

CONFIG = EvaluationConfig(
    prompt_frames=2, character_frames=8, character_windows=2, character_starts=2, bootstrap_draws=50
)
FRAMES = 30
KEPT = ("character_kept", "enemies_kept", "coins_kept")


@pytest.fixture(scope="module")
def clips():
    return [game_clip(1, FRAMES), game_clip(2, FRAMES, mirrored=True), game_clip(3, FRAMES)]


def figures_of(world, clips, config=CONFIG):
    codes = [clip.actions for clip in clips]
    return measure_character(world, clips, codes, true_action_shares(clips, codes, 6), config)


@pytest.fixture(scope="module")
def perfect(clips):
    world = GameWorld(clips)
    return figures_of(world, clips), world


def test_the_game_itself_keeps_everything_in_its_place_mirrored_or_not(perfect):
    figures = perfect[0]
    known = {name: metric["value"] for name, metric in figures.metrics.items() if metric["value"] is not None}
    assert {f"character_{kind}_{name}" for kind in ("place", "exact") for name in PLACES} < set(known)
    assert {f"{name}{held}_t{t}" for name in KEPT for held in ("", "_held") for t in (1, 8)} <= set(figures.metrics)
    assert all(value == 1 for name, value in known.items() if not name.startswith("position_error"))
    assert known["position_error_t8"] == known["position_error_held_t8"] == 0
    assert figures.metrics["character_kept_t8"]["num_sources"] == 3
    assert [row["action"] for row in figures.by_code] == [ACTIONS[row["code"]] for row in figures.by_code]
    assert all(row["character_kept"] == [1.0] * 8 and row["sources"] == 2 for row in figures.by_code)


def test_without_true_states_the_figures_are_unknown_with_the_reason(clips):
    clip = clips[0]
    for given, reason in (
        ([dataclasses.replace(clip, states=None)], "states of the held-out sources are not known"),
        ([dataclasses.replace(clip, states=clips[2].states)], "another version of the game"),
        ([dataclasses.replace(clip, frames_THWC=clip.frames_THWC[:9])], "lower evaluation.character_frames"),
    ):
        world = GameWorld(clips)
        figures = figures_of(world, given)
        assert world.rollouts == 0
        assert reason in figures.metrics["character_kept_t8"]["reason"]
        assert reason in figures.metrics["character_place_jump"]["reason"]
        assert "character" not in figures.as_json()


def test_windows_sources_and_frames_are_those_of_the_settings(perfect, clips):
    figures, world = perfect
    assert world.rollouts == 3 * 2 + len(figures.by_code) * 2
    document = figures.as_json()
    assert [len(document["character"][name]) for name in (*KEPT, "position_error_held")] == [8] * 4
    for name in KEPT:
        late = figures.metrics[f"{name}_t{AFTER[-1]}"]
        assert late["value"] is None
        assert "character_frames" in late["reason"]


def _without(thing, theme, frame):
    """Return a frame whose pixels of one thing, and those around it, are gone."""
    mask = seen.classify(frame[None], theme)[0] == thing
    for axis in (0, 1):
        mask = np.any([np.roll(mask, shift, axis) for shift in range(-4, 5)], axis=0)
    frame = frame.copy()
    frame[mask] = (1, 2, 3)
    return frame


@pytest.mark.parametrize("name", ["character_kept", "enemies_kept", "coins_kept"])
def test_what_dissolves_after_some_frames_is_kept_until_then(name):
    thing = dict(zip(KEPT, (seen.CHARACTER, seen.ENEMY, seen.COIN), strict=True))[name]
    clip = game_clip(4, FRAMES)
    theme = clip.states.level.theme
    world = GameWorld([clip], lambda frame, ahead: frame if ahead <= 4 else _without(thing, theme, frame))
    figures = figures_of(world, [clip])
    values = [metric["value"] for metric in figures.by_frame[name]]
    assert set(values[:4]) <= {1.0, None}
    assert set(values[4:]) <= {0.0, None}
    others = {metric["value"] for other in KEPT if other != name for metric in figures.by_frame[other]}
    assert 1.0 in others
    if name == "character_kept":
        assert figures.by_frame["position_error"][5]["reason"]
        places = {figures.metrics[f"character_place_{action}"]["value"] for action in PLACES}
        assert places - {None} == {1.0}, "places are those of frames that show it"


def _rollout(names, seed=5, start=0):
    """Return a game's true states under named actions, its frames and its actions."""
    level = make_level(seed)
    first = game_clip(seed, start + 2).states.states[start]
    states = [first]
    for name in names:
        states.append(advance(level, states[-1], ACTIONS.index(name)))
    truth = TrueStates(level, tuple(states), False)
    return truth, np.stack([truth.shown(index) for index in range(len(states))]), [ACTIONS.index(n) for n in names]


def judged(frames, truth, actions):
    """Whether the character is on its very tile in each frame."""
    found = judge(frames[None], [truth], np.array([actions]))
    on_its_tile = found.error_NS[0] < seen.NEAR_PX
    assert not (on_its_tile & (found.character_NS[0] == 0)).any(), "on its tile, it is near its place"
    return on_its_tile.astype(int).tolist()


def test_a_character_that_does_not_jump_or_floats_is_not_in_its_place():
    truth, jumps, pressed = _rollout(["jump", "jump", "none", "none", "none"])
    _, stands, released = _rollout(["none"] * 5)
    assert judged(jumps, truth, pressed) == [1] * 5
    assert judged(stands, truth, pressed)[0] == 0
    hangs = np.concatenate([jumps[:2], jumps[1:2].repeat(4, 0)])
    hangs_truth, _, _ = _rollout(["jump", "none", "none", "none", "none"])
    assert judged(hangs, hangs_truth, [ACTIONS.index("jump"), 0, 0, 0, 0])[:3] == [1, 0, 0]
    assert judged(jumps, truth, released)[0] == 0


def test_a_view_that_does_not_follow_the_action_is_out_of_place():
    truth, runs, right = _rollout(["right"] * 4)
    assert judged(runs, truth, right) == [1] * 4
    _, stands, _ = _rollout(["none"] * 4)
    assert judged(stands, truth, right) == [0] * 4
    near = judge(stands[None], [truth], np.array([right])).character_NS[0].tolist()
    assert near == [1] * 4, "a tile off is within 10 px, which is why the exact share is told too"
    assert judged(runs, truth, [ACTIONS.index("left")] * 4) == [0] * 4


def test_ground_that_the_world_invents_carries_the_character():
    names = ["jump-right"] * 4 + ["right"] * 8
    truth, _, actions = _rollout(names)
    _, elsewhere, _ = _rollout(names, seed=9)
    # the theme of the truth names the colours
    other = make_level(9)
    level = dataclasses.replace(truth.level, theme=other.theme)
    assert not np.array_equal(truth.level.platforms, other.platforms)
    assert np.mean(judged(elsewhere, dataclasses.replace(truth, level=level), actions)) >= 0.9


def test_a_place_follows_from_the_place_in_the_frame_before():
    truth, late, actions = _rollout(["none", "jump", "jump", "none"])
    actions[0] = ACTIONS.index("jump")
    assert judged(late, truth, actions) == [0, 1, 1, 1], "a jump that begins a step late goes on from there"
