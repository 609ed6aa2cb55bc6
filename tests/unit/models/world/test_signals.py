"""Signals of doubt follow a path: they add up, fade, and go on from where a game went back to."""

import numpy as np
import pytest
import torch

from models.world.signals import DECAY, FEATURES, SIGNALS, read_signals, round_trip_residual
from pipeline.config.evaluation import SamplingConfig


def noise(seed):
    return torch.Generator().manual_seed(seed)


SAMPLING = SamplingConfig(maskgit_steps=2, token_temperature=1.0)
CODES = torch.tensor([[1, 2, 0, 1], [0, 2, 2, 1]])


@pytest.fixture(scope="module")
def world(make_world):
    return make_world()


@pytest.fixture(scope="module")
def prompt(world):
    return world.encode(torch.randint(0, 255, (2, 1, 9, 14, 3), generator=noise(4), dtype=torch.uint8))


@pytest.fixture(scope="module")
def watched(world, prompt):
    return world.watch(prompt, CODES, sampling=SAMPLING, generator=noise(7))


def test_watching_a_rollout_changes_no_frame(world, prompt, watched):
    assert torch.equal(world.play(prompt, CODES, sampling=SAMPLING, generator=noise(7)), watched[0])
    assert watched[1].shape == (2, 4, len(FEATURES))
    assert torch.isfinite(watched[1]).all()


def test_a_frame_after_doubtful_frames_is_doubtful(watched):
    now, so_far = watched[1].numpy()[..., :3], watched[1].numpy()[..., 3:]
    expected = np.zeros_like(now[:, 0])
    for t in range(now.shape[1]):
        expected = DECAY * expected + now[:, t]
        np.testing.assert_allclose(so_far[:, t], expected)


def test_the_residual_is_measured_at_every_second_frame_and_is_the_way_the_frame_moves(world, prompt):
    session, path, found = world.begin(prompt, torch.zeros(2, 0, dtype=torch.int64), sampling=SAMPLING), None, []
    for t in range(4):
        session.step(CODES[:, t], noise(t))
        path = read_signals(session, path)
        shown = session.pixels()
        again = world.decode(world.encode(shown[:, None]))[:, 0]
        moved = (again.double() - shown.double()).square().mean((1, 2, 3)).sqrt()
        assert torch.allclose(round_trip_residual(session).double(), moved, atol=0.5)
        found.append((path.now_BS[:, SIGNALS.index("residual")], round_trip_residual(session).numpy()))
    for t in (0, 2):
        np.testing.assert_allclose(found[t][0], found[t][1])
        np.testing.assert_array_equal(found[t + 1][0], found[t][0])


def test_a_path_goes_on_from_the_doubt_of_the_frame_that_a_game_went_back_to(world, prompt):
    def step(before, seed):
        session = world.begin(prompt, torch.zeros(2, 0, dtype=torch.int64), sampling=SAMPLING)
        session.step(CODES[:, 0], noise(seed))
        return read_signals(session, before)

    first = step(None, 1)
    branches = [step(first, seed) for seed in (2, 3)]
    for branch in branches:
        assert branch.frames == 2
        np.testing.assert_allclose(branch.so_far_BS, DECAY * first.so_far_BS + branch.now_BS)
    np.testing.assert_array_equal(first.so_far_BS, first.now_BS)
