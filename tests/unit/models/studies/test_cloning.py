"""Behaviour cloning in the embedded game: the dictionary, the play, and a policy that learns what it is shown."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from models.studies.cells import Cells
from models.studies.cloning import CloningSettings, dictionary, play, study_cloning
from models.studies.policy import clone, draw
from models.world.world import WorldModel
from pipeline.arcade.platformer import ACTIONS
from pipeline.errors import UserError

SMALL = CloningSettings(episodes=2, length=8, levels=3, seeds=1, steps=2, labels=(4,))


def test_the_dictionary_draws_as_often_as_was_labelled_or_takes_the_most_frequent() -> None:
    codes, actions = np.array([0, 0, 0, 2]), np.array([1, 1, 2, 5])
    drawn = dictionary(codes, actions, 3, "drawn")
    assert drawn[0] == pytest.approx([0, 2 / 3, 1 / 3, 0, 0, 0])
    # nobody labelled it: any labelled action
    assert drawn[1] == pytest.approx([0, 0.5, 0.25, 0, 0, 0.25])
    assert dictionary(codes, actions, 3, "most frequent").argmax(1).tolist() == [1, 1, 5]


def test_equal_numbers_draw_equal_actions_as_often_as_their_probabilities() -> None:
    rows = np.tile([0.2, 0.0, 0.8], (1000, 1))
    uniform = np.linspace(0, 1, 1000, endpoint=False)
    chosen = draw(rows, uniform)
    assert np.bincount(chosen, minlength=3).tolist() == [200, 0, 800]
    assert draw(np.eye(3), np.array([0.0, 0.5, 1.0])).tolist() == [0, 1, 2]


def test_a_policy_learns_what_it_is_shown_and_the_same_seed_gives_the_same() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 60, (32, 30, 40, 3), np.uint8)
    actions = np.arange(32) % 2
    frames[actions == 1, 10:20, 20:30] += 150  # one patch says it
    device = torch.device("cpu")
    first, second = (clone(frames, actions, 3, steps=25, seed=1, device=device) for _ in range(2))
    assert (first.probabilities(frames).argmax(1) == actions).mean() == 1
    assert np.array_equal(first.probabilities(frames), second.probabilities(frames))


def test_all_arms_start_alike_and_get_the_same_random_numbers() -> None:
    seen: list[tuple[list[tuple[int, int, int]], np.ndarray]] = []

    def still(levels: Any, states: Any, uniform: np.ndarray) -> np.ndarray:
        seen.append(([(state.x, state.y, state.facing) for state in states], uniform))
        return np.zeros(len(levels), np.int64)

    for _ in range(2):
        assert play(still, SMALL, seed=0) == play(still, SMALL, seed=0)
    for place in range(SMALL.length):
        for other in range(1, 4):
            first, again = seen[place], seen[place + other * SMALL.length]
            assert first[0] == again[0]
            assert np.array_equal(first[1], again[1])
    seen.clear()
    play(still, SMALL, seed=1)
    assert seen[0][0] != first[0]


@pytest.mark.parametrize(
    ("values", "named"),
    [({"levels": 0}, "--levels = 0"), ({"labels": ()}, "--labels"), ({"labels": (0, 5)}, "--labels"),
     ({"episodes": 1, "length": 4, "labels": (5,)}, "1 to the 4 recorded")],
)  # fmt: skip
def test_sizes_that_cannot_be_measured_are_refused(values: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        CloningSettings(**values)


def test_a_world_of_other_frames_is_refused_before_anything_is_recorded(tmp_path: Path) -> None:
    world = SimpleNamespace(model_id="w", tokenizer=SimpleNamespace(height=64, width=64))
    with pytest.raises(UserError, match=r"64x64, and the game 160x90.*lampworks demo"):
        study_cloning(cast(WorldModel, world), SMALL, Cells(tmp_path, {}))


class Named:
    """A world whose LAM names each transition by the column that the camera has moved to: enough to tell directions."""

    model_id, num_actions = "named", 2
    tokenizer = SimpleNamespace(height=90, width=160)
    compute = SimpleNamespace(device=torch.device("cpu"))

    def infer_actions(self, video_BTHWC: torch.Tensor) -> torch.Tensor:
        return (video_BTHWC[:, 1:].float().mean((2, 3, 4)) > video_BTHWC[:, :-1].float().mean((2, 3, 4))).long()


def test_a_study_that_was_killed_goes_on_and_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = cast(WorldModel, Named())
    whole = study_cloning(world, SMALL, Cells(tmp_path / "whole", {}))
    assert [(arm.name, arm.labels) for arm in whole.arms] == [
        ("expert", None), ("runs on", None), ("random", None), ("oracle", None), ("drawn", 4), ("most frequent", 4)
    ]  # fmt: skip
    assert np.array(whole.code_counts).shape == (2, len(ACTIONS))
    assert np.array(whole.code_counts).sum() == SMALL.episodes * SMALL.length
    assert 0 <= whole.information <= whole.possible

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("models.studies.cloning._latent", killed)
        with pytest.raises(KeyboardInterrupt):
            study_cloning(world, SMALL, Cells(tmp_path / "killed", {}))
    again = Cells(tmp_path / "killed", {})
    assert study_cloning(world, SMALL, again) == whole
    assert again.measured == 1, "names, references and the oracle were measured before"
