"""What the dynamics is shown while it learns, and the figures that say what it has learned."""

import pytest
import torch
import torch.nn.functional as F

from models.networks.dynamics import last_frame_quality
from models.training.world_metrics import world_metrics
from tests.numerics.small import DYNAMICS, LAM, arcade_windows, make_world_training


@pytest.fixture(scope="module")
def windows():
    return arcade_windows()


def shown_in_a_step(training, monkeypatch):
    """The arguments of the loss in the first step: true tokens, actions, mask, tokens that are seen."""
    asked, loss = [], training.dynamics.loss
    monkeypatch.setattr(training.dynamics, "loss", lambda *args: asked.append(args) or loss(*args))
    training.step(0)
    return asked[0]


def test_noise_is_in_what_is_seen_and_not_in_what_is_asked_for(windows, monkeypatch):
    noisy = shown_in_a_step(make_world_training(windows, token_noise=1.0), monkeypatch)
    clean = shown_in_a_step(make_world_training(windows), monkeypatch)
    assert torch.equal(clean[3], clean[0]), "without the setting the true tokens are seen"
    assert torch.equal(noisy[0], clean[0])
    assert torch.equal(noisy[2], clean[2]), "the noise is drawn after the mask"
    assert not torch.equal(noisy[3], noisy[0])
    assert torch.equal(noisy[3][noisy[2]], noisy[0][noisy[2]])


def test_tokens_that_change_weigh_what_the_setting_says(windows, monkeypatch):
    tokens, *_, weights = shown_in_a_step(make_world_training(windows, changed_weight=4.0), monkeypatch)
    changed = tokens[:, 1:] != tokens[:, :-1]
    assert 0 < float(changed.float().mean()) < 1
    assert torch.equal(weights[:, 1:], 1 + 3.0 * changed)
    assert shown_in_a_step(make_world_training(windows), monkeypatch)[4] is None


def test_a_dynamics_that_copies_the_frame_before_is_right_where_nothing_changes_and_there_alone(windows, monkeypatch):
    training = make_world_training(windows)

    def copy(tokens, rows):
        return F.one_hot(tokens.roll(1, 1).clamp(max=63), 64).float() * 20

    monkeypatch.setattr(training.dynamics, "forward", copy)
    found = world_metrics(training, windows, count=6)
    assert 0.1 < found["changed_share"] < 0.9
    assert found["accuracy"] == pytest.approx(1 - found["changed_share"])
    assert found["accuracy_changed"] == 0
    assert found["cross_entropy_changed"] > 19


def test_one_that_knows_the_next_frame_is_right_everywhere(windows, monkeypatch):
    training = make_world_training(windows)
    video = windows.spread(count=4, window=DYNAMICS.context)
    truth = training.tokenizer.encode(video)
    monkeypatch.setattr(training.dynamics, "forward", lambda tokens, rows: F.one_hot(truth, 64).float() * 20)
    found = world_metrics(training, windows, count=4)
    assert found["accuracy"] == found["accuracy_changed"] == 1
    assert found["cross_entropy_changed"] < 1e-3


def test_where_nothing_changes_figures_of_changed_tokens_are_not_known(windows, monkeypatch):
    training = make_world_training(windows)
    still = torch.zeros(2, DYNAMICS.context, training.tokenizer.num_tokens, dtype=torch.int64)
    monkeypatch.setattr(training.tokenizer, "encode", lambda video: still[: len(video)])
    found = world_metrics(training, windows, count=2)
    assert found["changed_share"] == 0
    assert found["accuracy_changed"] is None
    assert found["cross_entropy_changed"] is None


def test_the_last_frame_is_judged_wholly_masked_after_true_frames(windows):
    training = make_world_training(windows)
    tokens = training.tokenizer.encode(windows.spread(count=2, window=DYNAMICS.context))
    actions = torch.randn(2, DYNAMICS.context - 1, LAM.latent_dim)
    hidden = tokens.clone()
    hidden[:, -1] = training.dynamics.mask_id
    odds = training.dynamics(hidden, actions)[:, -1].log_softmax(-1)
    losses, right = last_frame_quality(training.dynamics, tokens, actions)
    torch.testing.assert_close(losses, -odds.gather(-1, tokens[:, -1:].mT)[..., 0])
    assert right.shape == losses.shape == (2, training.tokenizer.num_tokens)
    other = tokens.clone()
    other[:, -1] = (other[:, -1] + 1) % 64
    again = last_frame_quality(training.dynamics, other, actions)[0]
    assert not torch.equal(again, losses), "the frame itself is what is asked for"
