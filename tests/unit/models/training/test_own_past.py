"""A past that the dynamics drew itself: where it lies, what it is, and that it is what play would draw."""

import dataclasses

import pytest
import torch

from models.training.own_past import OwnPast, Rollouts, begin_rollouts, draw_rollouts, with_own_past
from pipeline.config import Config
from pipeline.config.world import DynamicsConfig
from pipeline.errors import UserError
from tests.numerics.small import CONTEXT, DYNAMICS, arcade_windows, make_dynamics, make_world_training

OWN = dataclasses.replace(DYNAMICS, own_frame_share=0.5, own_frames=4)
BEFORE = OWN.frames_before


@pytest.fixture(scope="module")
def dynamics():
    return make_dynamics()


def own_past(begin, end):
    generator = torch.Generator().manual_seed(3)
    first = torch.randint(0, 64, (len(begin), 15), generator=generator)
    actions = torch.randn(len(begin), BEFORE + CONTEXT - 1, 32, generator=generator)
    return OwnPast(torch.tensor(begin), torch.tensor(end), first, actions)


@torch.no_grad()
def played(dynamics, own, sample):
    """The rollout of a window frame by frame, each from the whole past recomputed."""
    begin, end = int(own.begin_B[sample]), int(own.end_B[sample])
    frames = own.first_BP[None, sample : sample + 1].clone()
    for time in range(begin, end):
        window = torch.cat([frames, torch.full_like(frames[:, :1], dynamics.mask_id)], 1)
        actions = own.actions_BAL[None, sample, begin - 1 : time]
        frames = torch.cat([frames, dynamics(window, actions)[:, -1:].argmax(-1)], 1)
    return frames[0, 1:]


def test_rollouts_are_what_greedy_play_draws_from_one_true_frame_and_the_rest_stays_true(dynamics):
    tokens = torch.randint(0, 64, (4, CONTEXT, 15), generator=torch.Generator().manual_seed(1))
    # three frames that end in the window, none, three of which two lie before the window, all of them before its second
    own = own_past([BEFORE + 1, 5, BEFORE - 1, BEFORE], [BEFORE + 3, 5, BEFORE + 1, BEFORE + 1])
    seen = with_own_past(dynamics, tokens, own)
    expected = tokens.clone()
    expected[0, 1:3] = played(dynamics, own, 0)
    expected[2, :1] = played(dynamics, own, 2)[1:]
    expected[3, :1] = played(dynamics, own, 3)
    assert torch.equal(seen, expected)
    assert not torch.equal(seen, tokens)


def test_a_rollout_longer_than_the_context_goes_on_as_a_ring_and_gradients_stay_out(dynamics):
    own = own_past([1], [BEFORE + CONTEXT - 1])
    assert BEFORE + CONTEXT - 2 > CONTEXT
    tokens = torch.zeros(1, CONTEXT, 15, dtype=torch.int64)
    seen = with_own_past(dynamics, tokens, own)
    assert not bool((seen[:, :-1] == tokens[:, :-1]).all())
    assert torch.equal(seen[:, -1], tokens[:, -1])
    assert all(parameter.grad is None for parameter in dynamics.parameters())


def test_rollouts_end_with_the_visible_past_and_have_one_to_so_many_frames():
    mask = torch.zeros(400, CONTEXT, 15, dtype=torch.bool)
    visible = torch.arange(400) % (CONTEXT - 1) + 1
    mask[torch.arange(CONTEXT) >= visible[:, None]] = True
    found = draw_rollouts(OWN, mask, torch.Generator().manual_seed(0))
    length = found.end_B - found.begin_B
    has = length > 0
    assert float(has.float().mean()) == pytest.approx(0.5, abs=0.1)
    assert torch.equal(found.end_B[has], (BEFORE + visible)[has])
    assert sorted(length[has].unique().tolist()) == [1, 2, 3, 4]
    assert int(found.begin_B.min()) >= 1, "a true frame comes before"


def test_only_windows_that_have_a_rollout_are_encoded_each_from_its_own_frame():
    video = torch.arange(3 * (BEFORE + CONTEXT)).view(3, -1, 1, 1, 1)
    rollouts = Rollouts(torch.tensor([4, 2, 9]), torch.tensor([6, 2, 10]))
    asked = []

    def encode(frames):
        asked.append(frames.flatten().tolist())
        return frames.flatten(2)

    def rows_of(windows):
        return windows[:, 1:, 0, 0].double()

    own = begin_rollouts(rollouts, video, torch.zeros(3, CONTEXT - 1, 1).double(), encode, rows_of)
    total = BEFORE + CONTEXT
    assert asked == [[3, 2 * total + 8]]
    assert own.first_BP[[0, 2]].flatten().tolist() == asked[0]
    assert own.actions_BAL[0, :BEFORE, 0].tolist() == list(range(1, BEFORE + 1)), "of the transition to each frame"
    assert own.actions_BAL[1].abs().max() == 0


def test_in_training_the_dynamics_is_shown_its_rollouts_and_asked_for_the_truth(monkeypatch):
    windows = arcade_windows()
    training = make_world_training(windows, own_frame_share=1.0, own_frames=2)
    shown, loss = [], training.dynamics.loss_and_guess
    monkeypatch.setattr(
        training.dynamics, "loss_and_guess", lambda *args, guess: shown.append(args) or loss(*args, guess=guess)
    )
    training.step(0)
    tokens, actions, mask, seen, _ = shown[0]
    video, _ = windows.batch(seed=0, stream=2, batch=2, window=training.config.drawn_frames)
    assert training.config.drawn_frames == 7
    assert torch.equal(tokens, training.tokenizer.encode(video[:, -CONTEXT:]))
    assert actions.shape[1] == CONTEXT - 1
    past = ~mask.any(2)
    assert not torch.equal(seen[past], tokens[past])
    assert torch.equal(seen[~past], tokens[~past]), "beyond the past, visible tokens of masked frames are true"


def test_own_frames_without_a_share_of_samples_are_refused_and_the_advice_helps():
    with pytest.raises(UserError, match=r"set dynamics\.own_frame_share above 0, or own_frames = 1"):
        DynamicsConfig(own_frames=3)
    assert DynamicsConfig(own_frames=3, own_frame_share=0.1).drawn_frames == 31
    assert DynamicsConfig().drawn_frames == 16
    assert [DynamicsConfig(context=5, own_frames=n, own_frame_share=1).frames_before for n in (1, 2, 4, 5)] == [
        0, 4, 4, 8,
    ]  # fmt: skip


def test_a_context_that_the_tokenizer_cannot_encode_is_refused_with_the_settings():
    short = dataclasses.replace(Config().tokenizer, window=4)
    with pytest.raises(UserError, match=r"lower dynamics\.context to 4, or raise tokenizer\.window to 16"):
        Config(tokenizer=short)
    Config(tokenizer=short, dynamics=dataclasses.replace(Config().dynamics, context=4))
    Config(tokenizer=dataclasses.replace(short, architecture="vit"))
