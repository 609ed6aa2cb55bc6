"""How long a checkpoint holds up the steps of a training.

The real loop saves a state of made-up tensors as large as a network's: weights and two moments. The step before a
checkpoint ends when nothing of the one before is being written, as in a training whose checkpoints are minutes apart.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
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
from models.training.saver import PREPARING, WRITING
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
    """The same at the first checkpoint."""
    blocked_cpu_s: float
    """CPU-seconds of the thread that takes the steps, in the same time: the median."""
    written_s: float
    """Until the file is written and older ones are deleted, in seconds: the median."""


def bench_saving(millions: int, checkpoints: int, folder: Path | None = None) -> Saving:
    """Save a network of so many million parameters several times.

    Args:
        millions: parameters; memory takes 24 bytes for each.
        checkpoints: that are measured, after a first one.
        folder: of the files; by default a temporary one.
    """
    with tempfile.TemporaryDirectory(prefix="lampworks-bench-", dir=folder) as root:
        kept = Checkpoints(Store(Path(root) / "root"), "checkpoints")
        training = _Still(millions, checkpoints + 1)
        run(training, kept, stage="checkpoints", checkpoint_every=2)
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

    def __init__(self, millions: int, checkpoints: int) -> None:
        self.total_steps = 2 * checkpoints + 1
        self._tensors = {
            f"{number}.{state}": torch.randn(1024, 1024) for number in range(millions) for state in _STATES
        }
        self.blocked: list[tuple[float, float]] = []
        """Seconds, and CPU-seconds, of each checkpoint but that of the last step."""
        self.written: list[float] = []
        self._ended: tuple[float, float] | None = None

    def step(self, step: int) -> dict[str, float]:
        """Wait until the checkpoint before is written, and note how long it held up this step."""
        if step % 2:
            self._wait()
            self._ended = time.perf_counter(), time.thread_time()
        elif self._ended is not None:
            wall, cpu = self._ended
            self.blocked.append((time.perf_counter() - wall, time.thread_time() - cpu))
            self._wait()
            self.written.append(time.perf_counter() - wall)
        return {}

    def _wait(self) -> None:
        while any(thread.name in (WRITING, PREPARING) for thread in threading.enumerate()):
            time.sleep(_POLL_S)

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
