"""What the dynamics is shown while it learns, and the figures that say what it has learned."""

import copy

import pytest
import torch
import torch.nn.functional as F

from models.networks.dynamics import last_frame_quality
from models.training.world_metrics import world_metrics
from models.world.world import WorldModel
from pipeline.config.evaluation import SamplingConfig
from pipeline.errors import UserError
from tests.numerics.small import CPU, DYNAMICS, LAM, arcade_windows, make_world_training


@pytest.fixture(scope="module")
def windows():
    return arcade_windows()


def shown_in_a_step(training, monkeypatch):
    """The arguments of the loss in the first step: true tokens, actions, mask, tokens that are seen."""
    asked, loss = [], training.dynamics.loss_and_guess
    monkeypatch.setattr(
        training.dynamics, "loss_and_guess", lambda *args, guess: asked.append(args) or loss(*args, guess=guess)
    )
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


def test_noise_on_latents_rises_and_reaches_the_decoder_alone_and_only_while_nothing_is_quantized(windows, monkeypatch):
    training = make_world_training(windows, lam={"unquantized_steps": 5, "latent_noise": 0.5})
    seen, decode = [], training.lam.decode
    for step in range(6):
        latents, before = [], training.lam.latents
        with monkeypatch.context() as patch:
            patch.setattr(training.lam, "latents", lambda frames, f=before, to=latents: to.append(f(frames)) or to[-1])
            patch.setattr(
                training.lam, "decode", lambda frames, rows: seen.append(rows.detach()) or decode(frames, rows)
            )
            training.step(step)
        if step < 5:
            noise = seen[-1] - latents[-1].detach()
            assert float(noise.std()) == pytest.approx(0.5 * min(1, step / 3), rel=0.4, abs=1e-9)
    assert len(seen[-1].flatten(0, 1).unique(dim=0)) <= LAM.num_actions, "codes, without noise"


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


def test_what_a_lam_that_rests_says_of_the_same_windows_is_computed_once(windows, monkeypatch):
    training = make_world_training(windows, lam={"unquantized_steps": 1, "update_every": 0})
    for step in range(3):
        training.step(step)
    first = world_metrics(training, windows, count=4)
    training.step(3)
    encode, calls = training.tokenizer.encode, []
    monkeypatch.setattr(training.tokenizer, "encode", lambda video: calls.append(len(video)) or encode(video))
    again = world_metrics(training, windows, count=4)
    assert not calls
    assert again["cross_entropy"] != first["cross_entropy"], "the dynamics goes on"
    assert again["lam_psnr"] == first["lam_psnr"]
    assert world_metrics(training, windows, count=2)["windows"] == 2
    assert calls == [2], "other windows are measured anew"
    training.load({name: tensor.clone() for name, tensor in training.tensors().items()})
    assert world_metrics(training, windows, count=2)["windows"] == 2
    assert calls == [2, 2], "so are those of another state"


def test_a_lam_that_learns_is_measured_anew(windows):
    training = make_world_training(windows)
    first = world_metrics(training, windows, count=4)
    training.step(0)
    assert world_metrics(training, windows, count=4)["lam_psnr"] != first["lam_psnr"]


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


def test_between_its_updates_the_lam_gives_codes_and_does_not_change(windows):
    training = make_world_training(windows, lam={"update_every": 3, "ema_decay": 0.9})
    before, changes = None, []
    for step in range(5):
        metrics = training.step(step)
        now = {name: tensor.clone() for name, tensor in training.lam.state_dict().items()}
        changes.append(before is None or any(not torch.equal(now[name], before[name]) for name in now))
        assert ("lam_loss" in metrics) == changes[-1]
        assert metrics["loss"] > 0
        assert metrics["lam_codes_used"] >= 1
        before = now
    assert changes == [True, False, False, True, False]


def test_a_lam_that_rests_after_its_steps_alone_never_changes_again(windows):
    training = make_world_training(windows, lam={"update_every": 0, "unquantized_steps": 1, "ema_decay": 0.9})
    training.step(0)
    training.step(1)
    before = {name: tensor.clone() for name, tensor in training.lam.state_dict().items()}
    codes = training.dynamics.embed.weight.clone()
    training.step(2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in training.lam.state_dict().items())
    assert not torch.equal(training.dynamics.embed.weight, codes)
    with pytest.raises(UserError, match=r"would not have learned: set latent_actions\.unquantized_steps"):
        make_world_training(windows, lam={"update_every": 0})


PASTS = {
    "rollouts": {"own_frames": 2, "own_frame_share": 0.7},
    "recalled": {"recalled_share": 0.9, "clean_prefix_share": 1.0},
}


@pytest.mark.parametrize("past", PASTS)
def test_a_training_that_goes_on_takes_the_same_steps_bit_for_bit(windows, past, monkeypatch):
    """Pasts of its own, kept tokens, weights and the LAM's rests depend on seed, step and checkpoint alone."""
    monkeypatch.setattr("models.training.recalled._MOST_WRONG", 1.0)
    settings = {
        "lam": {"update_every": 2, "motion_weight": 3.0, "ema_decay": 0.9}, "cache_tokens": 9, "changed_weight": 2.0,
        "token_noise": 0.1, **PASTS[past],
    }  # fmt: skip
    whole = make_world_training(windows, **settings)
    for step in range(3):
        whole.step(step)
    tensors = {name: tensor.clone() for name, tensor in whole.tensors().items()}
    about = copy.deepcopy(whole.about())
    expected = [whole.step(step) for step in range(3, 5)]
    other = make_world_training(windows, **settings)
    other.load(tensors)
    other.load_about(about)
    assert [other.step(step) for step in range(3, 5)] == expected
    assert (len(other.recalled) > 0) == (past == "recalled")


@pytest.mark.parametrize(("context", "past_window"), [(2, "ring"), (3, "prefill")])
def test_a_world_of_short_windows_learns_and_is_played(windows, context, past_window):
    training = make_world_training(windows, context=context, own_frames=2, own_frame_share=0.5, lam={"window": 2})
    assert training.tokenizer.config.window > context
    assert training.step(0)["loss"] > 0
    assert world_metrics(training, windows, count=2)["windows"] == 2
    world = WorldModel(training.tokenizer, training.lam.eval(), training.dynamics.eval(), compute=CPU, model_id="w")
    video = windows.spread(count=1, window=6)
    tokens, actions = world.encode(video), world.infer_actions(video)
    sampling = SamplingConfig(maskgit_steps=2, token_temperature=0.0, past_window=past_window)
    drawn = world.generate(tokens[:, :1], actions, sampling=sampling)
    assert drawn.shape == tokens.shape
    assert int(drawn.max()) < training.dynamics.mask_id
    assert world.play(tokens[:, :1], actions, sampling=sampling).shape == (1, 5, *video.shape[2:])
