"""The settings that studies share: the demo's world, made smaller or larger."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from models.studies.study import Size
from models.studies.worlds import Footage, drawn_levels
from pipeline.config import Config
from pipeline.config.demo import demo
from pipeline.config.evaluation import EvaluationConfig
from pipeline.config.stack import StackConfig


class Extent(NamedTuple):
    """How much a size of study trains, and on what."""

    train: int
    """Levels."""
    held_out: int
    frames: int
    tokenizer_steps: int
    lam_steps: int
    steps: int
    """Of the dynamics."""


EXTENTS: dict[Size, Extent] = {
    "tiny": Extent(2, 2, 12, 2, 2, 2),
    "toy": Extent(24, 10, 60, 80, 300, 400),
    "full": Extent(512, 64, 160, 4000, 20_000, 50_000),
}
_HELD_OUT = 100_000  # seeds of held-out levels begin here


def levels_of(size: Size) -> Footage:
    """Return the levels of a size."""
    extent = EXTENTS[size]
    return drawn_levels(range(extent.train), range(_HELD_OUT, _HELD_OUT + extent.held_out), extent.frames)


def small_world(size: Size, seed: int) -> Config:
    """Return the demo's settings with the steps of a size, measured in short windows without long rollouts."""
    extent, base = EXTENTS[size], demo()
    scale = {"tiny": 1, "toy": 1, "full": 4}[size]
    return dataclasses.replace(
        base,
        tokenizer=dataclasses.replace(
            base.tokenizer,
            steps=extent.tokenizer_steps,
            encoder=_scaled(base.tokenizer.encoder, scale),
            decoder=_scaled(base.tokenizer.decoder, scale),
        ),
        latent_actions=dataclasses.replace(base.latent_actions, unquantized_steps=extent.lam_steps),
        dynamics=dataclasses.replace(base.dynamics, steps=extent.steps, stack=_scaled(base.dynamics.stack, scale)),
        training=dataclasses.replace(base.training, seed=seed, checkpoint_every=max(50, extent.steps // 10)),
        evaluation=small_evaluation(base.evaluation, size),
    )


def small_evaluation(base: EvaluationConfig, size: Size) -> EvaluationConfig:
    """Return how worlds of studies are measured: from one frame, as the paper does, over 4 frames."""
    windows, draws = (1, 1) if size == "tiny" else (4, 2)
    return dataclasses.replace(base, prompt_frames=1, horizon=4, windows_per_clip=windows, random_draws=draws, seed=0)


def _scaled(stack: StackConfig, scale: int) -> StackConfig:
    return dataclasses.replace(
        stack, d_model=scale * stack.d_model, heads=scale * stack.heads, kv_heads=scale * stack.kv_heads
    )
