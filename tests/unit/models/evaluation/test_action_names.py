"""A latent action is named after what the view does while it is held down."""

import numpy as np
import pytest
import torch

from models.evaluation.action_names import name_actions, view_shift
from models.evaluation.rollouts import hold_each_action
from pipeline.config import EvaluationConfig

CONFIG = EvaluationConfig(maskgit_steps=3, token_temperature=0.5)


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
