"""How fast a training goes: samples and frames a second, utilisation of the machine's measured peak, time left.

    rate = Rate(StepSize(windows=8, frames=16, flops=lambda step: 3e12), total=1000, peak=machine_peak(compute))
    rate.taken(1)            # after every step
    rate.metrics()           # {} until two steps were taken

A figure is of the last half a minute, of wall-clock time: loading, checkpoints and measurements on the way count too.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

_SPAN_S, _APART_S = 30.0, 0.5


@dataclass(frozen=True)
class StepSize:
    """What a step works through, on all ranks together."""

    windows: int
    """Windows (samples) of a step."""
    frames: int
    """Frames of a window."""
    flops: Callable[[int], float]
    """Returns the operations of step number `step` (from 1)."""


class _Mark(NamedTuple):
    at: float
    steps: int
    flops: float


class Rate:
    """The rate of a training; nothing of it is stored."""

    def __init__(
        self, size: StepSize, *, total: int, peak: float, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Begin before the first step.

        Args:
            size: of a step.
            total: steps of the whole training.
            peak: operations a second that the machine has shown, on all ranks together.
            clock: returns seconds.
        """
        self.size, self.total, self.peak = size, total, peak
        self._clock = clock
        self._marks: deque[_Mark] = deque()
        self._first: _Mark | None = None
        self._now = _Mark(0.0, 0, 0.0)
        self._left = total

    def taken(self, step: int) -> None:
        """Note that step number `step` (from 1) was taken; the first one noted is not timed (it may compile)."""
        self._left = self.total - step
        # counted, as a run that goes back takes some steps twice
        self._now = _Mark(self._clock(), self._now.steps + 1, self._now.flops + self.size.flops(step))
        if self._first is None:
            self._first = self._now
        if not self._marks or self._now.at - self._marks[-1].at >= _APART_S:
            self._marks.append(self._now)
        while len(self._marks) > 1 and self._now.at - self._marks[1].at >= _SPAN_S:
            self._marks.popleft()

    def metrics(self) -> dict[str, float]:
        """Return the present figures: samples_per_s, frames_per_s, utilisation (a share), hours_left."""
        return self._since(self._marks[0]) if self._marks else {}

    def overall(self) -> dict[str, float]:
        """Return the figures of all timed steps, without the time left."""
        found = self._since(self._first) if self._first else {}
        return {name: value for name, value in found.items() if name != "hours_left"}

    def note(self) -> str:
        """Return the present figures for a line of progress; empty until there are some."""
        found = self.metrics()
        if not found:
            return ""
        return (
            f"{found['samples_per_s']:.3g} samples/s, {found['frames_per_s']:.3g} frames/s, "
            f"{found['utilisation']:.0%} of the peak"
        )

    def _since(self, mark: _Mark) -> dict[str, float]:
        steps, seconds = self._now.steps - mark.steps, self._now.at - mark.at
        if not steps or seconds <= 0:
            return {}
        samples = steps * self.size.windows / seconds
        return {
            "samples_per_s": samples,
            "frames_per_s": samples * self.size.frames,
            "utilisation": (self._now.flops - mark.flops) / seconds / self.peak,
            "hours_left": self._left * seconds / steps / 3600,
        }
