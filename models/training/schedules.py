"""The learning rate of each step of a training: a warm-up, and then what `optimizer.schedule` says."""

from __future__ import annotations

import math

from pipeline.config import Config
from pipeline.config.optimizer import OptimizerConfig
from pipeline.config.world import LatentActionConfig
from pipeline.model_ids import TOKENIZER, TrainedKind, steps_of

_WARM_UP_SHARE = 20
"""A twentieth of the steps is the warm-up that is proposed where the present one is longer than the training."""


def learning_rate(config: OptimizerConfig, step: int, total: int) -> float:
    """Return the learning rate of a step (0-based) of `total`."""
    peak, final = config.learning_rate, config.final_learning_rate
    if step < config.warmup_steps:
        return peak * (step + 1) / config.warmup_steps
    if config.schedule == "flat":
        return peak
    start = decay_start(config, total)
    part = min(1.0, max(0.0, (step - start) / max(1, total - 1 - start)))
    if config.schedule == "cosine":
        return final + (peak - final) * (1 + math.cos(math.pi * part)) / 2
    return peak + (final - peak) * part


def decay_start(config: OptimizerConfig, total: int) -> int:
    """Return the last step (0-based) of `total` at the peak; after it the rate falls, but for `flat`."""
    if config.schedule == "late_linear":
        return total // 2
    if config.schedule == "wsd":
        return max(config.warmup_steps, total - round(config.decay_share * total))
    return total if config.schedule == "flat" else config.warmup_steps


def lam_schedule_steps(latent_actions: LatentActionConfig, alone: int, total: int) -> int:
    """Return the steps of the LAM's schedule, of `total`, the first `alone` of which it takes by itself.

    One that rests afterwards ends its schedule with its steps alone.
    """
    return alone if alone and not latent_actions.update_every else total


def long_warm_ups(config: Config, kind: TrainedKind) -> list[str]:
    """Return a sentence for each network of a training that ends within its warm-up, with what to set instead."""
    if kind == TOKENIZER:
        return _long("tokenizer", config.tokenizer.optimizer, config.tokenizer.steps, "tokenizer.steps")
    alone, total = config.dynamics.alone_steps(config.latent_actions), steps_of(kind, config)
    found = _long("dynamics", config.dynamics.optimizer, config.dynamics.steps, "dynamics.steps")
    if config.dynamics.led_by != "latent_actions":
        return found
    lam_total = lam_schedule_steps(config.latent_actions, alone, total)
    setting = "latent_actions.unquantized_steps" if lam_total == alone else "dynamics.steps"
    return _long("latent_actions", config.latent_actions.optimizer, lam_total, setting) + found


def _long(section: str, optimizer: OptimizerConfig, total: int, steps_setting: str) -> list[str]:
    if optimizer.warmup_steps <= total:
        return []
    name, last = f"{section}.optimizer", learning_rate(optimizer, total - 1, total)
    return [
        f"{name}.warmup_steps = {optimizer.warmup_steps:,} is longer than the {total:,} steps: the learning rate ends "
        f"at {last:.2g} and never reaches {name}.learning_rate = {optimizer.learning_rate:g}. Set "
        f"{name}.warmup_steps={max(1, total // _WARM_UP_SHARE)}, or raise {steps_setting}"
    ]
