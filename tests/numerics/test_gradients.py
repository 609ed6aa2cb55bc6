"""Whom each loss teaches: the dynamics itself alone, the LAM through its codes, and every parameter there is."""

import dataclasses

import pytest
import torch

from models.networks.dynamics import draw_mask
from models.training.optimizer import Optimizer
from tests.numerics.small import (
    DYNAMICS,
    HEIGHT,
    LAM,
    PACE,
    STACK,
    WIDTH,
    arcade_windows,
    make_dynamics,
    make_lam,
    make_tokenizer,
    make_world_training,
    patch_tokenizer,
)

FSQ = {"quantizer": "fsq", "codebook_size": 64, "latent_dim": 3, "fsq_levels": (4, 4, 4)}


@pytest.fixture(scope="module")
def windows():
    return arcade_windows()


# -- the dynamics teaches nobody else -------------------------------------------------------------------------------


@pytest.mark.parametrize("injection", ["add", "prepend", "film"])
def test_the_loss_of_the_dynamics_gives_no_gradient_to_latent_actions_and_tokenizer(windows, injection):
    """Even of a tokenizer that could learn, and of rows that come attached to the LAM."""
    training = make_world_training(windows, action_injection=injection)
    training.tokenizer.requires_grad_(True)
    video, _ = windows.batch(seed=0, batch=2, window=DYNAMICS.context)
    rows = training.lam(video).quantized.straight
    assert rows.requires_grad
    tokens = training.tokenizer.encode(video)
    mask = draw_mask(training.config, tuple(tokens.shape), torch.Generator().manual_seed(0))
    loss = training.dynamics.loss(tokens, rows, mask)
    loss.backward()
    for network in (training.lam, training.tokenizer):
        assert [name for name, p in network.named_parameters() if p.grad is not None] == []
    assert all(p.grad is not None for p in training.dynamics.parameters())


def test_a_step_of_both_gives_the_lam_gradients_of_its_own_loss_alone(windows, monkeypatch):
    both, alone = make_world_training(windows), make_world_training(windows)
    for training in (both, alone):
        monkeypatch.setattr(training.lam_optimizer, "apply", lambda *args, **_: 0.0)
    both.step(0)
    alone.lam_steps.take(next(alone.batches)[0], 0)
    own = dict(alone.lam.named_parameters())
    for name, parameter in both.lam.named_parameters():
        assert parameter.grad is not None, name
        assert torch.equal(parameter.grad, own[name].grad), name
    assert [name for name, p in both.tokenizer.named_parameters() if p.grad is not None] == []
    assert all(p.grad is not None for p in both.dynamics.parameters())


def test_what_the_dynamics_must_predict_are_the_true_tokens_whatever_it_sees(windows, monkeypatch):
    training = make_world_training(windows, own_frame_share=1.0, clean_prefix_share=1.0, token_noise=1.0)
    asked, loss = [], training.dynamics.loss_and_guess
    monkeypatch.setattr(
        training.dynamics, "loss_and_guess", lambda *args, guess: asked.append(args) or loss(*args, guess=guess)
    )
    training.step(0)
    video, _ = windows.batch(seed=0, stream=2, batch=2, window=DYNAMICS.context)
    (targets, _, mask, seen), true = asked[0][:4], training.tokenizer.encode(video)
    assert torch.equal(targets, true)
    assert len(true.unique()) > 8
    assert bool(mask.any())
    assert not torch.equal(seen[~mask], true[~mask]), "own guesses and noise"


# -- the LAM and the tokenizer learn through their codes ------------------------------------------------------------


QUANTIZED = {
    "tokenizer": make_tokenizer,
    "LAM": make_lam,
    "ema": lambda: make_tokenizer(ema_decay=0.9),
    "cosine": lambda: make_tokenizer(cosine=True),
    "fsq": lambda: make_tokenizer(**FSQ),
}


@pytest.mark.parametrize("name", QUANTIZED)
def test_the_picture_teaches_the_encoder_straight_through_the_codes(windows, name):
    """Without a commitment loss nothing else leads to the encoder."""
    network = QUANTIZED[name]()
    video, _ = windows.batch(seed=0, batch=2, window=DYNAMICS.context)
    _, (drawn, latents, quantized) = network.loss(video)
    error = (drawn - video[:, -drawn.shape[1] :] / 255).square().mean()
    of_codes, of_latents = torch.autograd.grad(error, (quantized.straight, latents), retain_graph=True)
    assert float(of_codes.abs().max()) > 0
    if name in ("tokenizer", "LAM", "ema"):
        torch.testing.assert_close(of_latents, of_codes)
    encoder = {n: p for n, p in network.named_parameters() if n.startswith(("embed", "encoder", "pre"))}
    encoder = {n: p for n, p in encoder.items() if not n.startswith(("embed_action", "embed_decoder"))}
    for key, gradient in zip(encoder, torch.autograd.grad(error, list(encoder.values())), strict=True):
        assert float(gradient.abs().max()) > 0, key


# -- no parameter is dead -------------------------------------------------------------------------------------------

LAG = dataclasses.replace(STACK, temporal_positions="lag_bias")
CONV = dataclasses.replace(STACK, depthwise_conv="causal")
FRAME = dataclasses.replace(STACK, temporal_attention=False, depthwise_conv="frame")
PAIRS = {"pooling": "antisymmetric", "encoder": FRAME, "decoder": FRAME}

TOKENIZERS = {
    "paper": {},
    "vit": {"architecture": "vit"},
    "c_vivit": {"architecture": "c_vivit"},
    "fsq": FSQ,
    "cosine": {"cosine": True},
    "ema, restart": {"ema_decay": 0.9, "restart_below": 0.1},
    "lag bias": {"encoder": LAG, "decoder": LAG},
    "convolution": {"encoder": CONV, "decoder": CONV},
}
LAMS = {
    "paper": {},
    "difference": {"pooling": "difference"},
    "antisymmetric": PAIRS,
    "residual": {"decoder_output": "residual"},
    "sigmoid residual": {"decoder_output": "sigmoid_residual"},
    "cosine": {"cosine": True},
    "normalised latents": {"normalize_latent": True},
    "tokens": {"input": "tokens"},
    "ema, restart": {"ema_decay": 0.9, "restart_below": 0.1},
    "lag bias, convolution": {"encoder": CONV, "decoder": LAG},
}
DYNAMICS_VARIANTS = {
    "paper": {},
    "prepend": {"action_injection": "prepend"},
    "film": {"action_injection": "film"},
    "lag bias": {"stack": LAG},
    "convolution": {"stack": CONV},
    "spacetime": {"stack": dataclasses.replace(STACK, temporal_attention=False, spacetime_attention=True)},
}


def assert_everything_learns(network, loss_of, steps=3):
    """After a few steps (fresh parts begin at zero) every parameter has a finite gradient that is not zero."""
    optimizer = Optimizer(network, PACE, steps + 1)
    for step in range(steps + 1):
        optimizer.step(loss_of(), step)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert float(parameter.grad.abs().max()) > 0, name


def fresh(kind, config, *args, **more):
    torch.manual_seed(0)
    return kind(config, *args, **more)


@pytest.mark.parametrize("changes", TOKENIZERS.values(), ids=TOKENIZERS)
def test_every_parameter_of_the_tokenizer_learns(windows, changes):
    made = make_tokenizer(**changes)
    network = fresh(type(made), made.config, HEIGHT, WIDTH)
    video, _ = windows.batch(seed=0, batch=2, window=DYNAMICS.context)
    assert_everything_learns(network, lambda: network.loss(video)[0])


@pytest.mark.parametrize("changes", LAMS.values(), ids=LAMS)
def test_every_parameter_of_the_lam_learns(windows, changes):
    tokenizer = patch_tokenizer(windows)
    config = dataclasses.replace(LAM, **changes)
    made = type(make_lam())
    network = fresh(made, config, HEIGHT, WIDTH, DYNAMICS.context, num_codes=64, grid=tokenizer.grid)
    frames, _ = windows.batch(seed=0, batch=2, window=DYNAMICS.context)
    if network.reads_tokens:
        frames = tokenizer.encode(frames)
    assert_everything_learns(network, lambda: network.loss(frames)[0])


@pytest.mark.parametrize("changes", DYNAMICS_VARIANTS.values(), ids=DYNAMICS_VARIANTS)
def test_every_parameter_of_the_dynamics_learns(changes):
    made = make_dynamics(**changes)
    network = fresh(type(made), made.config, num_codes=64, grid=(3, 5), action_dim=32)
    noise = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 64, (2, 4, 15), generator=noise)
    actions, mask = torch.randn(2, 3, 32, generator=noise), torch.rand(2, 4, 15, generator=noise) < 0.7
    mask[:, 0] = False
    assert_everything_learns(network, lambda: network.loss(tokens, actions, mask))
