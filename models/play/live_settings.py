"""The settings that a player may change while a game runs, with the limits that keep a frame's cost bounded."""

from __future__ import annotations

import dataclasses
import typing

from pipeline.config.evaluation import SamplingConfig
from pipeline.errors import UserError

MAX_STEPS = 64
"""Most MaskGIT steps of a frame."""
MAX_TEMPERATURE = 10.0
MIN_FPS, MAX_FPS = 0.5, 60.0
ORDERS: tuple[str, ...] = typing.get_args(typing.get_type_hints(SamplingConfig)["unmask_order"])
SCHEDULES: tuple[str, ...] = typing.get_args(typing.get_type_hints(SamplingConfig)["unmask_schedule"])
PAST_WINDOWS: tuple[str, ...] = typing.get_args(typing.get_type_hints(SamplingConfig)["past_window"])


def with_limits(sampling: SamplingConfig) -> SamplingConfig:
    """Return settings that came from outside; UserError where one is out of its limits."""
    if sampling.maskgit_steps > MAX_STEPS:
        raise UserError(f"maskgit_steps = {sampling.maskgit_steps}: must be at most {MAX_STEPS}")
    for name in ("token_temperature", "choice_temperature"):
        if getattr(sampling, name) > MAX_TEMPERATURE:
            raise UserError(f"{name} = {getattr(sampling, name)}: must be at most {MAX_TEMPERATURE:g}")
    for name, choices in (("unmask_order", ORDERS), ("unmask_schedule", SCHEDULES), ("past_window", PAST_WINDOWS)):
        if getattr(sampling, name) not in choices:
            raise UserError(f"{name} = {getattr(sampling, name)!r}: must be one of {', '.join(choices)}")
    return sampling


def only_sampling(config: SamplingConfig) -> SamplingConfig:
    """Return the sampling part of a configuration that may have more fields, so that equal ones compare equal."""
    return SamplingConfig(**{field.name: getattr(config, field.name) for field in dataclasses.fields(SamplingConfig)})
