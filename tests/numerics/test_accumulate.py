"""A step in micro-batches is the step of the whole batch: the same losses, gradients, codes and metrics.

Compared in fp64, where only the order of sums differs. Noise, masks, restarts of codes and the number of masked tokens
of each micro-batch are the parts that could go wrong.
"""

import dataclasses

import pytest
import torch

from models.runtime.compute import Compute
from models.training.tokenizer_training import TokenizerTraining
from models.training.world_training import WorldTraining
from pipeline.arcade.platformer import platformer_actions
from tests.numerics.small import (
    DYNAMICS,
    LAM,
    TOKENIZER,
    arcade_windows,
    few_first_codes,
    in_double,
    patch_tokenizer,
    short_prior,
)

BATCH, STEPS = 5, 2
STACK = dataclasses.replace(TOKENIZER.encoder, layers=1, d_model=32, heads=2)
TOKENIZERS = {
    "codes by gradient": {},
    "moving averages": {"ema_decay": 0.9},
    "restarts": {"ema_decay": 0.9, "restart_below": 0.98},
    "lattice": {"quantizer": "fsq", "fsq_levels": (4, 4, 4), "latent_dim": 3},
}
WORLDS = {
    "latent actions alone, then both": ({"unquantized_steps": 1, "ema_decay": 0.9, "restart_below": 0.9}, {}),
    "play-like inputs, the LAM learns in one of two": (
        {"update_every": 2},
        {"own_frame_share": 0.7, "token_noise": 0.5, "full_mask_share": 0.3},
    ),
    "noise on the latents of the LAM alone, then actions that are not shown": (
        {"unquantized_steps": 1, "latent_noise": 0.7, "update_every": 0},
        {"unseen_actions": 0.5},
    ),
    "what changes weighs more": (
        {"motion_weight": 5.0, "loss_margin": 3},
        {"changed_weight": 5.0, "clean_prefix_share": 0.5},
    ),
    "tokens": ({"input": "tokens", "pooling": "difference"}, {"clean_prefix_share": 0.9}),
}


@pytest.fixture(scope="module")
def windows():
    return arcade_windows()


def compute(threads):
    return Compute(torch.device("cpu"), torch.float32, "test", threads)


def taken(training, networks):
    """Take steps; return metrics of each, and at the end all gradients, weights, codes and counts, and the state."""
    with in_double(*networks):
        metrics = [training.step(step) for step in range(STEPS)]
    state = dict(training.tensors())
    for index, network in enumerate(networks):
        state |= {f"{index}.{name}": p.grad for name, p in network.named_parameters() if p.grad is not None}
    return metrics, state


def assert_same(found, expected):
    for ours, theirs in zip(found[0], expected[0], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)
    assert found[1].keys() == expected[1].keys()
    for name, tensor in expected[1].items():
        torch.testing.assert_close(
            found[1][name], tensor, rtol=1e-8, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_takes_the_same_steps(windows, name):
    config = dataclasses.replace(TOKENIZER, encoder=STACK, decoder=STACK, batch=BATCH, **TOKENIZERS[name])

    def steps(accumulate, threads):
        training = TokenizerTraining(config, windows, compute(threads), seed=0, accumulate=accumulate)
        training.initialize()
        return taken(training, [training.tokenizer])

    whole = steps(1, 1)
    assert whole[0][0]["gradient_norm"] > 0
    for accumulate, threads in ((2, 1), (BATCH + 3, 2)):
        assert_same(steps(accumulate, threads), whole)


_LONG = ("latent actions alone, then both", "play-like inputs, the LAM learns in one of two")
"""What the case with noise takes too, but for details."""


@pytest.mark.parametrize("name", [pytest.param(each, marks=[pytest.mark.slow] * (each in _LONG)) for each in WORLDS])
def test_latent_actions_and_dynamics_take_the_same_steps(windows, name, monkeypatch):
    short_prior(monkeypatch)
    few_first_codes(monkeypatch)
    lam_changes, changes = WORLDS[name]
    lam = dataclasses.replace(LAM, encoder=STACK, decoder=STACK, **lam_changes)
    dynamics = dataclasses.replace(DYNAMICS, stack=STACK, batch=BATCH, **changes)

    def steps(accumulate, threads):
        training = WorldTraining(
            lam, dynamics, patch_tokenizer(windows), windows, compute(threads), seed=0, accumulate=accumulate
        )
        training.initialize()
        return taken(training, [training.tokenizer, training.lam, training.dynamics])

    whole = steps(1, 1)
    for accumulate, threads in ((2, 2), (BATCH, 1)):
        assert_same(steps(accumulate, threads), whole)


def test_the_oracle_takes_the_same_steps(windows):
    own = {"own_frame_share": 0.8, "own_frames": 5}
    dynamics = dataclasses.replace(DYNAMICS, stack=STACK, batch=BATCH, **own)

    def steps(accumulate):
        training = WorldTraining(
            dataclasses.replace(LAM, encoder=STACK, decoder=STACK), dynamics, patch_tokenizer(windows), windows,
            compute(1), seed=0, truth_actions=lambda clip: platformer_actions(int(clip), 12), accumulate=accumulate,
        )  # fmt: skip
        training.initialize()
        return taken(training, [training.tokenizer, training.lam, training.dynamics])

    assert_same(steps(3), steps(1))


def test_no_network_sees_more_than_a_micro_batch(windows, monkeypatch):
    """So the memory of a step is that of a micro-batch; what is kept of each is codes, latents and numbers."""
    few_first_codes(monkeypatch)
    config = dataclasses.replace(TOKENIZER, encoder=STACK, decoder=STACK, batch=6)
    tokens = TokenizerTraining(config, windows, compute(1), seed=0, accumulate=3)
    lam = dataclasses.replace(LAM, encoder=STACK, decoder=STACK, unquantized_steps=1)
    dynamics = dataclasses.replace(DYNAMICS, stack=STACK, batch=6, own_frame_share=1.0)
    world = WorldTraining(lam, dynamics, patch_tokenizer(windows), windows, compute(1), seed=0, accumulate=3)
    seen = []
    for network in (tokens.tokenizer, world.tokenizer, world.lam, world.dynamics):
        for stack in (module for module in network.modules() if type(module).__name__ == "STTransformer"):
            stack.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    tokens.step(0)
    world.step(0)
    world.step(1)
    assert set(seen) == {2}


def test_a_batch_without_a_masked_token_teaches_nothing_and_harms_nothing(windows, monkeypatch):
    import models.training.dynamics_inputs as module

    training = WorldTraining(
        dataclasses.replace(LAM, encoder=STACK, decoder=STACK), dataclasses.replace(DYNAMICS, stack=STACK),
        patch_tokenizer(windows), windows, compute(1), seed=0, accumulate=2,
    )  # fmt: skip
    draw = module.draw_mask
    for masked in (0, 1):
        monkeypatch.setattr(
            module,
            "draw_mask",
            lambda *args, masked=masked: draw(*args) & (torch.arange(2) < masked)[:, None, None],
        )
        metrics = training.step(masked)
        assert (metrics["loss"] > 0) == bool(masked)
        assert all(bool(tensor.isfinite().all()) for tensor in training.tensors().values())
