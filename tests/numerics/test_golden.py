"""Twenty steps of every training give the losses that they gave before.

A change that moves a loss on purpose writes the figures anew, and the commit says why:

    LAMPWORKS_GOLDEN=write .venv/bin/python -m pytest -q tests/numerics/test_golden.py
"""

import dataclasses
import json
import os
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from models.training.optimizer import Optimizer
from models.training.tokenizer_training import TokenizerTraining
from models.training.world_training import WorldTraining
from pipeline.arcade.platformer import platformer_actions
from pipeline.config import preset
from tests.numerics import small
from tests.numerics.small import (
    CPU,
    DYNAMICS,
    TOKENIZER,
    arcade_windows,
    few_first_codes,
    fresh_networks,
    in_double,
    patch_tokenizer,
    short_prior,
)

# the first gradients of codes that start as latents of these few windows are rounding; the demo's curve starts so
LAM = dataclasses.replace(small.LAM, start="random")
GOLDEN = Path(__file__).with_name("golden.json")


def exact_if(double, *networks):
    return in_double(*networks) if double else nullcontext()


def tokenizer_curve(windows, double):
    training = TokenizerTraining(TOKENIZER, windows, CPU, seed=0)
    with exact_if(double, training.tokenizer):
        return {"loss": [training.step(step)["loss"] for step in range(TOKENIZER.steps)]}


def world_training(windows, truth=None):
    training = WorldTraining(LAM, DYNAMICS, patch_tokenizer(windows), windows, CPU, seed=0, truth_actions=truth)
    training.initialize()
    return training


def lam_curve(windows, double):
    """The LAM without a dynamics beside it."""
    training, losses = world_training(windows), []
    optimizer = Optimizer(training.lam, LAM.optimizer, DYNAMICS.steps)
    with exact_if(double, training.lam):
        for step in range(DYNAMICS.steps):
            video, _ = next(training.batches)
            loss, _ = training.lam.loss(video)
            optimizer.step(loss, step)
            losses.append(loss.item())
    return {"loss": losses}


def dynamics_curve(windows, double):
    """The dynamics led by true actions."""
    training = world_training(windows, lambda clip: platformer_actions(int(clip), 12))
    with exact_if(double, training.tokenizer, training.lam, training.dynamics):
        return {"loss": [training.step(step)["loss"] for step in range(DYNAMICS.steps)]}


def cotraining_curve(windows, double):
    training = world_training(windows)
    with exact_if(double, training.tokenizer, training.lam, training.dynamics):
        figures = [training.step(step) for step in range(DYNAMICS.steps)]
    return {name: [each[name] for each in figures] for name in ("lam_loss", "loss")}


def demo_curve(windows, double):
    """The demo's settings on smaller frames, with fewer windows a step and ten steps of the LAM alone.

    The LAM then rests; its codes and what is known of unseen actions come of few windows. There are fewer codes than
    different patches: with a code for each the first picture is right, and gradients are rounding.
    """
    demo, windows = preset("demo"), arcade_windows(40, 60)
    tokenizer = dataclasses.replace(demo.tokenizer, batch=2, steps=20, codebook_size=64)
    training = TokenizerTraining(tokenizer, windows, CPU, seed=0)
    training.initialize()
    with exact_if(double, training.tokenizer):
        curve = {"tokenizer_loss": [training.step(step)["loss"] for step in range(6)]}
    lam = dataclasses.replace(demo.latent_actions, unquantized_steps=10)
    dynamics = dataclasses.replace(demo.dynamics, batch=2, steps=10)
    world = WorldTraining(lam, dynamics, training.tokenizer, windows, CPU, seed=0)
    world.initialize()
    with exact_if(double, world.tokenizer, world.lam, world.dynamics), pytest.MonkeyPatch.context() as patch:
        few_first_codes(patch)
        short_prior(patch)
        figures = [world.step(step) for step in range(20)]
    alone, both = figures[: lam.unquantized_steps], figures[lam.unquantized_steps :]
    return curve | {"lam_loss": [each["lam_loss"] for each in alone], "loss": [each["loss"] for each in both]}


CURVES = {
    "demo": demo_curve,
    "tokenizer": tokenizer_curve,
    "latent_actions": lam_curve,
    "dynamics": dynamics_curve,
    "cotraining": cotraining_curve,
}


@pytest.fixture(scope="module")
def windows():
    return arcade_windows()


def told_before(name, figures):
    """The figures of before; written anew where the environment says so."""
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("LAMPWORKS_GOLDEN") == "write":
        golden[name] = {key: [float(f"{value:.8g}") for value in values] for key, values in figures.items()}
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    return golden[name]


@pytest.mark.parametrize("name", CURVES)
def test_losses_are_those_of_before(windows, name):
    curve = CURVES[name](windows, double=False)
    golden = told_before(name, curve)
    assert golden.keys() == curve.keys()
    for figure, losses in golden.items():
        assert curve[figure] == pytest.approx(losses, rel=1e-3), figure


@pytest.mark.parametrize("name", [pytest.param(each, marks=[pytest.mark.slow] * (each == "demo")) for each in CURVES])
def test_rounding_is_far_from_moving_the_losses(windows, name):
    """So a difference from the figures of before is a change of the program, not of the machine.

    Measured: fp64 and fp32 differ by 1e-6 at most, and by 7e-5 in the demo's tokenizer; kernels for SSE 4.2, AVX2 and
    AVX-512, torch's and MKL's, by 1e-6.
    """
    exact = CURVES[name](windows, double=True)
    for figure, losses in json.loads(GOLDEN.read_text())[name].items():
        assert exact[figure] == pytest.approx(losses, rel=5e-4), figure


def projection(network):
    """One number that any other weights, or the same in another order, would change."""
    parts = (parameter.detach().double().flatten() for parameter in network.parameters())
    return sum(float(part @ torch.arange(len(part)).double().cos()) for part in parts)


@pytest.mark.parametrize("name", ["demo", "paper"])
def test_fresh_weights_are_those_of_before(name):
    """The same seed draws the same weights, at the demo's own size: new parameters only where a setting asks."""
    demo = preset("demo")
    sections = (demo.tokenizer, demo.latent_actions, demo.dynamics, 90, 160)
    networks = fresh_networks(*(sections if name == "demo" else (TOKENIZER, LAM, DYNAMICS, 30, 44)))
    figures = {key: [projection(network)] for key, network in networks.items()}
    golden = told_before(f"fresh weights, {name}", figures)
    for key, figure in figures.items():
        # torch's kernels for older CPUs draw normal numbers that differ in the last bits
        assert figure == pytest.approx(golden[key], abs=1e-4), key
