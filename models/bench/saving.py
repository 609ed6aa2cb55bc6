"""How long a checkpoint holds up the steps of a training.

The real loop saves a state of made-up tensors as large as a network's: weights and two moments. A step begins when the
file of the checkpoint before is written, as it does in a training whose checkpoints are minutes apart.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.training.checkpoint import Checkpoints
from models.training.loop import run
from models.training.optimizer import Optimizer
from pipeline.storage.store import Store

_MATRIX, _POLL_S = 1 << 20, 0.01
_STATES = ("weight", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Saving:
    """What the checkpoints of a network cost."""

    parameters: int
    bytes: int
    """Of a checkpoint."""
    checkpoints: int
    blocked_s: float
    """From the end of a step to the begin of the next, in seconds: the median."""
    first_s: float
    """The same at the first checkpoint, which takes the memory of the copy."""
    blocked_cpu_s: float
    """CPU-seconds of the thread that takes the steps, in the same time: the median."""
    written_s: float
    """Until the file is written, in seconds: the median."""


def bench_saving(millions: int, checkpoints: int, folder: Path | None = None) -> Saving:
    """Save a network of so many million parameters several times.

    Args:
        millions: parameters; memory takes 24 bytes for each.
        checkpoints: that are measured, after a first one.
        folder: of the files; by default a temporary one.
    """
    with tempfile.TemporaryDirectory(prefix="lampworks-bench-", dir=folder) as root:
        kept = Checkpoints(Store(Path(root) / "root"), "checkpoints")
        training = _Still(millions, kept, checkpoints + 1)
        run(training, kept, stage="checkpoints", checkpoint_every=1)
        [*_, last] = kept.steps()
        size = kept.store.size(f"checkpoints/step-{last:08d}.safetensors")
    first, *others = training.blocked
    return Saving(
        millions * _MATRIX, size, checkpoints,
        statistics.median(each[0] for each in others), first[0],
        statistics.median(each[1] for each in others), statistics.median(training.written[1:]),
    )  # fmt: skip


class _Still:
    """A training whose steps change nothing."""

    alone_steps = 0

    def __init__(self, millions: int, checkpoints: Checkpoints, steps: int) -> None:
        self.total_steps, self._checkpoints = steps + 1, checkpoints
        self._tensors = {
            f"{number}.{state}": torch.randn(1024, 1024) for number in range(millions) for state in _STATES
        }
        self.blocked: list[tuple[float, float]] = []
        """Seconds, and CPU-seconds, of each checkpoint but the last."""
        self.written: list[float] = []
        self._ended: tuple[float, float] | None = None

    def step(self, step: int) -> dict[str, float]:
        """Wait until the checkpoint before is written."""
        if self._ended is not None:
            self.blocked.append((time.perf_counter() - self._ended[0], time.thread_time() - self._ended[1]))
            while step not in self._checkpoints.steps():
                time.sleep(_POLL_S)
            self.written.append(time.perf_counter() - self._ended[0])
        self._ended = time.perf_counter(), time.thread_time()
        return {}

    def initialize(self) -> None:
        """Do nothing: the tensors are there."""

    def networks(self) -> dict[str, nn.Module]:
        """Return none."""
        return {}

    def optimizers(self) -> dict[str, Optimizer]:
        """Return none."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors."""
        return self._tensors

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""

    def about(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load_about(self, about: Mapping[str, Any]) -> None:
        """Do nothing."""
