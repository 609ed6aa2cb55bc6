"""The dynamics is led by actions that the footage never shows, and only where it does not."""

import dataclasses
import time

import pytest
import torch

from models.training import unseen_actions, world_training
from models.training.checkpoint import step_generator
from models.training.data import Clip, ClipWindows
from models.training.unseen_actions import ActionPrior, ShownActions, shown_actions, train_prior, with_unseen_actions
from pipeline.clips.samples import BAD_SAMPLE
from pipeline.config import parse_config
from pipeline.errors import PermanentError, RetryableError, UserError
from tests.numerics import small
from tests.numerics.small import DYNAMICS, arcade_windows, make_world_training, short_prior

CODES = torch.tensor([[0.0], [1.0], [10.0], [11.0], [30.0]])
RESTS = {"unquantized_steps": 2, "update_every": 0}


def noise():
    return step_generator(0, 1, 0)


def replaced(share, own, shown, count=400):
    """What becomes of `count` transitions of one action after frames where some are shown."""
    shown_NA = torch.zeros(count, len(CODES), dtype=torch.bool)
    shown_NA[:, list(shown)] = True
    actions = ShownActions(torch.full((count,), own), shown_NA, CODES)
    return with_unseen_actions(share, actions, noise())


def test_an_action_stands_for_those_that_are_not_shown_and_nearest_to_it():
    assert set(replaced(1.0, 0, {0, 2}).tolist()) == {1}
    assert set(replaced(1.0, 2, {0, 2}).tolist()) == {3, 4}
    assert set(replaced(1.0, 4, {4}).tolist()) == {0, 1, 2, 3}


def test_an_action_that_the_footage_shows_is_never_put_in_place_of_another():
    assert set(replaced(1.0, 1, range(5)).tolist()) == {1}
    assert set(replaced(1.0, 2, {0, 2, 3}).tolist()) == {2}, "those not shown are nearer to others"
    assert set(replaced(1.0, 0, set()).tolist()) == {1, 2, 3, 4}, "its own action is shown, whatever the prior says"


def test_the_share_says_how_many_of_those_that_can_be_are_replaced():
    assert set(replaced(0.0, 2, {0, 2}).tolist()) == {2}
    found = replaced(0.3, 2, {0, 2})
    assert 0.2 < float((found != 2).float().mean()) < 0.4


def test_a_prior_learns_which_actions_follow_what_stands_anywhere_in_a_frame(monkeypatch):
    monkeypatch.setattr(unseen_actions, "_STEPS", 300)
    where = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 4, (3000, 6 * 8), generator=where)
    kinds = torch.randint(0, 2, (3000,), generator=where)
    places = torch.randint(0, 48, (3000,), generator=where)
    tokens[torch.arange(3000), places] = 4 + kinds  # 4: actions 0 and 1 follow, 5: action 2
    codes = torch.where(kinds == 1, 2, torch.randint(0, 2, (3000,), generator=where))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = ActionPrior(torch.eye(6), grid=(6, 8), num_actions=5)
    train_prior(prior, [(tokens[:2500, None], codes[:2500, None])], noise())
    rows = CODES[codes[2500:]][:, None]
    found = shown_actions(prior, tokens[2500:, None].expand(-1, 2, -1), rows, CODES)
    assert torch.equal(found.codes_N, codes[2500:])
    for kind, followers in ((0, [True, True, False, False, False]), (1, [False, False, True, False, False])):
        rows_of_kind = found.shown_NA[kinds[2500:] == kind]
        assert float((rows_of_kind == torch.tensor(followers)).float().mean()) > 0.97


def test_what_the_prior_learned_is_part_of_a_checkpoint(monkeypatch):
    short_prior(monkeypatch)
    windows = arcade_windows()
    whole, first = (make_world_training(windows, lam=RESTS, unseen_actions=0.9) for _ in range(2))
    plain = make_world_training(windows, lam=RESTS)
    for step in range(5):
        losses = [training.step(step)["lam_loss" if step < 2 else "loss"] for training in (whole, plain)]
        if step < 4:
            first.step(step)
    assert losses[0] != losses[1], "another action led some transitions"
    resumed = make_world_training(windows, lam=RESTS, unseen_actions=0.9)
    resumed.load(first.tensors())
    resumed.load_about(first.about())
    assert resumed.step(4)["loss"] == losses[0]
    assert not any("action_prior" in name for name in plain.tensors()), "checkpoints without it stay as they were"
    assert "action_prior" not in whole.networks(), "it is no part of a world"


def test_while_the_prior_learns_windows_are_encoded_ahead_and_the_steps_stay_the_same(monkeypatch):
    short_prior(monkeypatch)
    monkeypatch.setattr(world_training, "_PRIOR_BATCHES", 1)
    monkeypatch.setattr(small, "CPU", dataclasses.replace(small.CPU, threads=2))
    windows = arcade_windows()
    ahead, plain = (make_world_training(windows, lam=RESTS, unseen_actions=0.9, cache_tokens=500) for _ in range(2))
    learn, kept = world_training.train_prior, []

    def learn_late(*arguments):
        # until enough is encoded: on a busy machine the prior may have learned before the other thread begins
        deadline = time.monotonic() + 60
        while len(ahead.code_cache) < 2 * DYNAMICS.batch and time.monotonic() < deadline:
            time.sleep(0.01)
        kept.append(len(ahead.code_cache))
        learn(*arguments)

    def steps(training):
        return [training.step(step) for step in range(5)]

    monkeypatch.setattr(plain, "_keep_ahead", lambda batches, until: None)
    expected = steps(plain)
    monkeypatch.setattr(world_training, "train_prior", learn_late)
    assert steps(ahead) == expected
    assert kept[0] >= 2 * DYNAMICS.batch, "more than the prior has drawn"
    for name, tensor in plain.tensors().items():
        assert torch.equal(ahead.tensors()[name], tensor), name


def test_a_window_that_cannot_be_read_ahead_stops_nothing(monkeypatch):
    short_prior(monkeypatch)
    monkeypatch.setattr(small, "CPU", dataclasses.replace(small.CPU, threads=2))
    training = make_world_training(arcade_windows(), lam=RESTS, unseen_actions=0.9, cache_tokens=500)

    def unreadable(*arguments, **named):
        raise RetryableError("the store does not answer", error_class="store")

    monkeypatch.setattr(training, "_keep_ahead", unreadable)
    assert [training.step(step) for step in range(4)][-1]["loss"] > 0


def test_too_many_unusable_clips_that_are_met_ahead_end_the_training(monkeypatch):
    """Each is known afterwards and skipped without a word, so no step would say that they are too many."""
    short_prior(monkeypatch)
    monkeypatch.setattr(small, "CPU", dataclasses.replace(small.CPU, threads=2))
    frames, breaks = arcade_windows().clips.read(0)[0].load(), []

    def breaks_while_the_prior_learns():
        if breaks:
            raise PermanentError("not a video", error_class=BAD_SAMPLE)
        return frames

    clips = [Clip("0", lambda: frames), Clip("1", lambda: frames), Clip("2", breaks_while_the_prior_learns)]
    windows = ClipWindows(clips, cache_clips=0, max_bad_share=0.1)
    training = make_world_training(windows, lam=RESTS, unseen_actions=0.9, cache_tokens=500)
    learn = world_training.train_prior

    def learn_late(*arguments):
        breaks.append(True)
        deadline = time.monotonic() + 60
        while not windows.bad and time.monotonic() < deadline:
            time.sleep(0.01)
        learn(*arguments)

    monkeypatch.setattr(world_training, "_PRIOR_BATCHES", 1)
    monkeypatch.setattr(world_training, "train_prior", learn_late)
    training.step(0)
    training.step(1)
    with pytest.raises(UserError, match=r"1 of 3 training clips cannot be used, more than training\.max_bad_share"):
        training.step(2)


def test_actions_that_still_change_are_refused_and_the_advice_helps():
    values = {"dynamics": {"unseen_actions": 0.4}}
    with pytest.raises(UserError, match=r"latent_actions\.update_every = 0") as refused:
        parse_config(values)
    assert "unseen_actions = 0" in str(refused.value)
    advised = {"latent_actions": {"update_every": 0, "unquantized_steps": 10}, **values}
    assert parse_config(advised).dynamics.unseen_actions == 0.4
