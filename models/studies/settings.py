"""The settings that studies share: the demo's world, made smaller or larger."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from models.studies.study import Scope, Size
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
    "tiny": Extent(2, 2, 8, 2, 2, 2),
    "toy": Extent(24, 10, 40, 20, 150, 120),
    "full": Extent(512, 64, 160, 4000, 20_000, 50_000),
}
_HELD_OUT = 100_000  # seeds of held-out levels begin here


def levels_of(size: Size) -> Footage:
    """Return the levels of a size."""
    extent = EXTENTS[size]
    return drawn_levels(range(extent.train), range(_HELD_OUT, _HELD_OUT + extent.held_out), extent.frames)


def extent_of(scope: Scope) -> Extent:
    """Return how much a study trains."""
    extent, most = EXTENTS[scope.size], scope.steps
    if most is None:
        return extent
    own = (extent.tokenizer_steps, extent.lam_steps, extent.steps)
    return Extent(*extent[:3], *(min(steps, most) for steps in own))


def small_world(scope: Scope, seed: int) -> Config:
    """Return the demo's settings with the steps of a study, measured in short windows without long rollouts."""
    extent, size, base = extent_of(scope), scope.size, demo()
    tokenizer, lam, dynamics = base.tokenizer, base.latent_actions, base.dynamics
    threads = scope.threads or (base.training.threads if size == "full" else 1)
    batch = {"tiny": 2, "toy": 8}.get(size)
    return dataclasses.replace(
        base,
        tokenizer=dataclasses.replace(
            tokenizer,
            steps=extent.tokenizer_steps,
            batch=batch or tokenizer.batch,
            encoder=_scaled(tokenizer.encoder, size),
            decoder=_scaled(tokenizer.decoder, size),
        ),
        latent_actions=dataclasses.replace(
            lam,
            unquantized_steps=extent.lam_steps,
            encoder=_scaled(lam.encoder, size),
            decoder=_scaled(lam.decoder, size),
        ),
        dynamics=dataclasses.replace(
            dynamics,
            steps=extent.steps,
            batch=batch or dynamics.batch,
            stack=_scaled(dynamics.stack, size),
            # what tells shown actions takes hundreds of batches, however few the steps
            unseen_actions=dynamics.unseen_actions if size == "full" else 0.0,
        ),
        training=dataclasses.replace(
            base.training, seed=seed, threads=threads, checkpoint_every=max(50, extent.steps // 10)
        ),
        evaluation=small_evaluation(base.evaluation, size),
    )


def small_evaluation(base: EvaluationConfig, size: Size) -> EvaluationConfig:
    """Return how worlds of studies are measured: from one frame, as the paper does, over 4 frames."""
    windows, draws = (4, 2) if size == "full" else (1, 1)
    return dataclasses.replace(base, prompt_frames=1, horizon=4, windows_per_clip=windows, random_draws=draws, seed=0)


def small_fidelity(base: EvaluationConfig, size: Size) -> EvaluationConfig:
    """Return settings with the rollouts of a Frechet video distance: 16 frames, as in the paper's windows."""
    frames, windows, draws = (4, 1, 10) if size == "tiny" else (16, 2, 100)
    return dataclasses.replace(base, fidelity_frames=frames, fidelity_windows=windows, fidelity_draws=draws)


def _scaled(stack: StackConfig, size: Size) -> StackConfig:
    if size == "tiny":
        return dataclasses.replace(stack, layers=1, d_model=32, heads=2, kv_heads=2, head_dim=16, ffw_multiple=1.0)

    # toy: half the demo's width costs a third of its time
    def scaled(width: int) -> int:
        return 4 * width if size == "full" else width // 2

    return dataclasses.replace(
        stack, d_model=scaled(stack.d_model), heads=scaled(stack.heads), kv_heads=scaled(stack.kv_heads)
    )
