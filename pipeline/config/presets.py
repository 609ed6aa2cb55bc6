"""Presets: the configurations that a YAML file starts from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

from pipeline.config.clips import ClipConfig
from pipeline.config.config import Config
from pipeline.config.demo import demo
from pipeline.config.embedding import EmbeddingConfig
from pipeline.config.evaluation import EvaluationConfig, PlayConfig
from pipeline.config.robotics import robotics, robotics_small
from pipeline.config.world import DYNAMICS_SIZES, DynamicsConfig, LatentActionConfig, StackConfig, TokenizerConfig
from pipeline.errors import UserError


def _coinrun() -> Config:
    """Return the case study of Genie App. F: frames of 64x64; the LAM's patch is not in its tables."""
    stack = StackConfig(layers=8, d_model=512, heads=8)
    return Config(
        preset="coinrun",
        # a square picture: the middle of a wider one, without bars
        clips=ClipConfig(width=64, height=64, aspect="crop"),
        embedding=EmbeddingConfig(width=160, height=160),
        tokenizer=TokenizerConfig(encoder=stack, decoder=stack, batch=48),
        latent_actions=LatentActionConfig(num_actions=6, encoder=stack, decoder=stack),
        dynamics=DynamicsConfig(
            stack=StackConfig(layers=12, d_model=512, heads=8, qk_norm=True), batch=36, steps=200_000
        ),
        evaluation=EvaluationConfig(token_temperature=1.0),
        play=PlayConfig(token_temperature=1.0),
    )


def _platformers(size: str) -> Config:
    """Return the paper's tokenizer and LAM with one of its smaller dynamics."""
    chosen = DYNAMICS_SIZES[size]
    dynamics = DynamicsConfig(stack=chosen.stack, batch=chosen.batch, steps=chosen.steps)
    return dataclasses.replace(Config(preset=f"platformers-{size}"), dynamics=dynamics)


PRESETS: dict[str, Callable[[], Config]] = {
    "demo": demo,
    "coinrun": _coinrun,
    "platformers": Config,
    "robotics": robotics,
    "robotics-small": robotics_small,
    **{f"platformers-{size}": partial(_platformers, size) for size in DYNAMICS_SIZES},
}


def preset(name: str) -> Config:
    """Return a preset by name; UserError lists the names."""
    if name not in PRESETS:
        raise UserError(f"preset {name!r} is unknown; choose one of: {', '.join(sorted(PRESETS))}")
    return PRESETS[name]()
