"""Numbers that are not finite never stay in weights, nor reach a checkpoint.

A gradient is checked before it is applied (`models.training.optimizer`), metrics after each step, and all tensors
before a checkpoint is written. What then becomes of the run says `training.on_bad_step` (`models.training.bad_steps`).
A training with the same settings meets the same numbers at the same step, so the error names what can be changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.config import Config
from pipeline.errors import UserError

_NAMED = 3


class BadStepError(UserError):
    """The numbers of a step are bad: not finite, or a loss far above those before."""

    def __init__(self, message: str, section: str = "", *, applied: bool = False) -> None:
        super().__init__(message)
        self.section = section
        """The section of the configuration whose network it is; empty where that is not known."""
        self.applied = applied
        """Whether weights have changed by this step: only going back to an earlier state undoes that."""


class NotFiniteError(BadStepError):
    """A gradient, a metric or a tensor is not finite."""


class LossSpikeError(BadStepError):
    """A loss is far above those of the steps before; its gradient was not applied."""


def check_metrics(metrics: Mapping[str, float]) -> None:
    """Raise a NotFiniteError that names the metrics that are not finite, if any is."""
    bad = [f"{name} is {value}" for name, value in metrics.items() if not abs(value) < float("inf")]
    if bad:
        raise NotFiniteError(" and ".join(bad), applied=True)


def check_tensors(tensors: Mapping[str, Tensor]) -> None:
    """Raise a NotFiniteError that names the tensors that are not finite, if any is."""
    if found := not_finite(tensors):
        raise NotFiniteError(found, applied=True)


def not_finite(tensors: Mapping[str, Tensor]) -> str:
    """Return a sentence that names the tensors that are not finite; empty where all are."""
    bad = [name for name, tensor in tensors.items() if not _is_finite(tensor)]
    if not bad:
        return ""
    named = ", ".join(bad[:_NAMED]) + ("" if len(bad) <= _NAMED else f" and {len(bad) - _NAMED} more")
    return f"{len(bad)} of {len(tensors)} tensors are not finite ({named})"


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    # a sum is as fast as memory, and is not finite where a value is not; one that only overflows is looked at again
    return math.isfinite(float(tensor.detach().sum())) or bool(torch.isfinite(tensor).all())


def what_to_change(config: Config, kind: str, run: str, error: BadStepError, checkpoint: int | None) -> str:
    """Return what a person can change so that a training of this configuration does not end at the same step.

    Args:
        config: of the training that was stopped.
        kind: of its model, `video_tokenizer` or `world_model`.
        run: the name of its run, as `training.go_on` takes it.
        error: why it was stopped.
        checkpoint: step of the last checkpoint, None without any.
    """
    training, own = config.training, (error.section,) if error.section else sections_of(kind)
    rates = [f"{name}.optimizer.learning_rate (now {getattr(config, name).optimizer.learning_rate:g})" for name in own]
    change = f"The same settings end at the same step again: lower {' and '.join(rates)}"
    is_spike = isinstance(error, LossSpikeError)
    if training.dtype != "fp32" and not is_spike:
        change += f", or set training.dtype = 'fp32' (now {training.dtype!r})"
    if is_spike:
        change += f", or raise training.spike_factor (now {training.spike_factor:g})"
    if checkpoint is None:
        change += "; the training then starts at the first step."
    else:
        change += f"; with training.go_on = {run!r} it then goes on from step {checkpoint}, else from the first step."
    ways = _policies(config, error)
    where = "the first step" if checkpoint is None else f"step {checkpoint}"
    return f"{change} Or stay with this run, which goes on from {where}: set {' or '.join(ways)}."


def _policies(config: Config, error: BadStepError) -> list[str]:
    """Return the settings with which the same run gets past a bad step."""
    training = config.training
    ways = []
    if training.on_bad_step != "skip" and not error.applied:
        ways.append("training.on_bad_step = 'skip' (such a step changes no weight)")
    if training.on_bad_step != "roll_back":
        share = f"{training.roll_back_rate:g} of the learning rate"
        ways.append(f"training.on_bad_step = 'roll_back' (goes back to the last checkpoint, with {share})")
    if training.on_bad_step != "stop" and not (training.on_bad_step == "skip" and error.applied):
        ways.append(f"training.max_bad_steps higher (now {training.max_bad_steps})")
    return ways


def sections_of(kind: str) -> tuple[str, ...]:
    """Return the sections of the configuration whose networks a kind of model is made of."""
    return ("tokenizer",) if kind == "video_tokenizer" else ("latent_actions", "dynamics")
