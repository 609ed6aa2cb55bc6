"""The training loop: steps, progress, curve, checkpoints, and the check that losses stay finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor

from models.registry import Curve
from models.runtime.weights import WeightsError
from models.training.checkpoint import Checkpoints
from pipeline.errors import PermanentError
from pipeline.progress import Progress, ProgressCallback

OnStep = Callable[[int, Mapping[str, float]], None]

_CURVE_POINTS = 2000


class Trainable(Protocol):
    """A training that the loop can run."""

    total_steps: int

    def initialize(self) -> None:
        """Initialize the networks before step 0; not called for a resumed run."""

    def step(self, step: int) -> dict[str, float]:
        """Take step number `step` (0-based) and return its metrics; all noise is drawn from the seed and `step`."""

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that the next step depends on."""

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Load what `tensors` returned; WeightsError where it does not fit."""


def run(
    training: Trainable,
    checkpoints: Checkpoints | None,
    *,
    stage: str,
    checkpoint_every: int,
    on_progress: ProgressCallback | None = None,
    on_step: OnStep | None = None,
) -> Curve:
    """Train to the last step, from the newest checkpoint if there is one; return the curve from step 1 on.

    Raises:
        UserError: the checkpoint is damaged, or belongs to another training.
        PermanentError: a metric is not finite (`not_finite`); the last checkpoint stays.
    """
    saved = checkpoints.latest() if checkpoints is not None else None
    curve: Curve = []
    if saved is None:
        training.initialize()
    else:
        assert checkpoints is not None
        try:
            training.load(saved.tensors)
        except WeightsError as exc:
            raise checkpoints.unfit(exc) from exc
        curve = saved.about["curve"]
    first, total = (0 if saved is None else saved.step), training.total_steps
    keep_every = -(-total // _CURVE_POINTS)
    with Progress(stage, total=total - first, unit="steps", on_progress=on_progress) as progress:
        for step in range(first, total):
            metrics = training.step(step)
            if not all(math.isfinite(value) for value in metrics.values()):
                raise PermanentError(
                    f"{stage}: {metrics} at step {step + 1} is not finite; lower the learning rate, or go on from the "
                    "checkpoint with training.dtype = 'fp32'",
                    error_class="not_finite",
                )
            if (step + 1) % keep_every == 0 or step + 1 == total:
                curve.append({"step": step + 1, **{name: round(value, 6) for name, value in metrics.items()}})
            if on_step is not None:
                on_step(step + 1, metrics)
            if checkpoints is not None and (step + 1) % checkpoint_every == 0 and step + 1 < total:
                checkpoints.save(step + 1, training.tensors(), {"curve": curve})
            progress.advance(note=", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    return curve
