"""Numbers that are not finite end a training before they reach its weights or a checkpoint.

A gradient is checked before it is applied (`models.training.optimizer`), metrics after each step, and all tensors
before a checkpoint is written. A training with the same settings meets the same numbers at the same step, so the error
names what can be changed.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.config import Config
from pipeline.errors import UserError

_NAMED = 3


class NotFiniteError(UserError):
    """A gradient, a metric or a tensor is not finite."""

    def __init__(self, message: str, section: str = "") -> None:
        super().__init__(message)
        self.section = section
        """The section of the configuration whose network it is; empty where that is not known."""


def check_metrics(metrics: Mapping[str, float]) -> None:
    """Raise a NotFiniteError that names the metrics that are not finite, if any is."""
    bad = [f"{name} is {value}" for name, value in metrics.items() if not abs(value) < float("inf")]
    if bad:
        raise NotFiniteError(" and ".join(bad))


def check_tensors(tensors: Mapping[str, Tensor]) -> None:
    """Raise a NotFiniteError that names the tensors that are not finite, if any is."""
    bad = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        named = ", ".join(bad[:_NAMED]) + ("" if len(bad) <= _NAMED else f" and {len(bad) - _NAMED} more")
        raise NotFiniteError(f"{len(bad)} of {len(tensors)} tensors are not finite ({named})")


def what_to_change(config: Config, kind: str, run: str, section: str, checkpoint: int | None) -> str:
    """Return what a person can change so that a training of this configuration does not meet the same numbers.

    Args:
        config: of the training that was stopped.
        kind: of its model, `video_tokenizer` or `world_model`.
        run: the name of its run, as `training.go_on` takes it.
        section: whose network it is; empty: any of the kind.
        checkpoint: step of the last checkpoint, None without any.
    """
    own = (section,) if section else sections_of(kind)
    rates = [f"{name}.optimizer.learning_rate (now {getattr(config, name).optimizer.learning_rate:g})" for name in own]
    change = f"The same settings end at the same step again: lower {' and '.join(rates)}"
    if config.training.dtype != "fp32":
        change += f", or set training.dtype = 'fp32' (now {config.training.dtype!r})"
    if checkpoint is None:
        return f"{change}; the training then starts at the first step."
    return f"{change}; with training.go_on = {run!r} it then goes on from step {checkpoint}, else from the first step."


def sections_of(kind: str) -> tuple[str, ...]:
    """Return the sections of the configuration whose networks a kind of model is made of."""
    return ("tokenizer",) if kind == "video_tokenizer" else ("latent_actions", "dynamics")
