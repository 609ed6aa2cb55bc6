"""Twenty steps of every training give the losses that they gave before.

A change that moves a loss on purpose writes the figures anew, and the commit says why:

    LAMPWORKS_GOLDEN=write .venv/bin/python -m pytest -q tests/numerics/test_golden.py
"""

import json
import os
from pathlib import Path

import pytest

from models.optimizer import Optimizer
from models.tokenizer_training import TokenizerTraining
from models.world_training import WorldTraining
from pipeline.arcade.platformer import platformer_actions
from tests.numerics.small import CPU, DYNAMICS, LAM, TOKENIZER, arcade_windows, in_double, patch_tokenizer

GOLDEN = Path(__file__).with_name("golden.json")


def tokenizer_curve(windows, double):
    training = TokenizerTraining(TOKENIZER, windows, CPU, seed=0)
    if double:
        in_double(training.tokenizer)
    return {"loss": [training.step(step)["loss"] for step in range(TOKENIZER.steps)]}


def world_training(windows, double, truth=None):
    training = WorldTraining(LAM, DYNAMICS, patch_tokenizer(windows), windows, CPU, seed=0, truth_actions=truth)
    training.start()
    if double:
        in_double(training.tokenizer, training.lam, training.dynamics)
    return training


def lam_curve(windows, double):
    """The LAM without a dynamics beside it."""
    training, losses = world_training(windows, double), []
    optimizer = Optimizer(training.lam, LAM.optimizer, DYNAMICS.steps)
    for step in range(DYNAMICS.steps):
        video, _ = training._batch(2, step)
        loss, _ = training.lam.loss(video)
        optimizer.step(loss, step)
        losses.append(loss.item())
    return {"loss": losses}


def dynamics_curve(windows, double):
    """The dynamics led by true actions."""
    training = world_training(windows, double, lambda clip: platformer_actions(int(clip), 12))
    return {"loss": [training.step(step)["loss"] for step in range(DYNAMICS.steps)]}


def cotraining_curve(windows, double):
    training = world_training(windows, double)
    figures = [training.step(step) for step in range(DYNAMICS.steps)]
    return {name: [each[name] for each in figures] for name in ("lam_loss", "loss")}


CURVES = {
    "tokenizer": tokenizer_curve,
    "latent_actions": lam_curve,
    "dynamics": dynamics_curve,
    "cotraining": cotraining_curve,
}


@pytest.fixture(scope="module")
def windows():
    return arcade_windows()


@pytest.mark.parametrize("name", CURVES)
def test_losses_are_those_of_before(windows, name):
    curve = CURVES[name](windows, double=False)
    if os.environ.get("LAMPWORKS_GOLDEN") == "write":
        golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
        golden[name] = {figure: [float(f"{loss:.8g}") for loss in losses] for figure, losses in curve.items()}
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    golden = json.loads(GOLDEN.read_text())[name]
    assert golden.keys() == curve.keys()
    for figure, losses in golden.items():
        assert len(losses) == 20
        assert curve[figure] == pytest.approx(losses, rel=1e-3), figure


@pytest.mark.parametrize("name", CURVES)
def test_rounding_is_far_from_moving_the_losses(windows, fp64, name):
    """So a difference from the figures of before is a change of the program, not of the machine.

    Measured: fp64 and fp32 differ by 1e-6 at most, with AVX-512, with AVX2 and without either.
    """
    exact = CURVES[name](windows, double=True)
    for figure, losses in json.loads(GOLDEN.read_text())[name].items():
        assert exact[figure] == pytest.approx(losses, rel=1e-4), figure
