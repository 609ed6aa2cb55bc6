"""Presets: the configurations that a YAML file starts from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

from pipeline.config.config import Config
from pipeline.config.demo import demo
from pipeline.config.world import (
    DYNAMICS_SIZES,
    coinrun_models,
    platformers_models,
)
from pipeline.errors import UserError


def _coinrun() -> Config:
    return dataclasses.replace(Config(preset="coinrun"), **coinrun_models())


def _platformers(size: str) -> Config:
    return dataclasses.replace(Config(preset=f"platformers-{size}"), **platformers_models(size))


PRESETS: dict[str, Callable[[], Config]] = {
    "demo": demo,
    "coinrun": _coinrun,
    "platformers": Config,
    **{f"platformers-{size}": partial(_platformers, size) for size in DYNAMICS_SIZES},
}


def preset(name: str) -> Config:
    """Return a preset by name; UserError lists the names."""
    if name not in PRESETS:
        raise UserError(f"preset {name!r} is unknown; choose one of: {', '.join(sorted(PRESETS))}")
    return PRESETS[name]()
