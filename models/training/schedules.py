"""The learning rate of each step of a training: a warm-up, and then what `optimizer.schedule` says."""

from __future__ import annotations

import math

from pipeline.config.optimizer import OptimizerConfig


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
