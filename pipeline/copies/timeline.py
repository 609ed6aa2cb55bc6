"""The coarse pictures of all clips, each in its place on its video's time line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.copies.signature import Pictures

Ints = npt.NDArray[np.int64]

HALF = 2
"""Half steps in a step: clips are aligned to half a step, a tenth of a second at 10 frames per second."""


@dataclass(frozen=True)
class Timeline:
    """Clips by their number, in the order that decides who represents whom."""

    pictures: Pictures
    """Coarse pictures of all clips, one after another: (steps of all clips, CELLS). May be a file on disk."""
    first: Ints
    """Row of each clip's first picture."""
    steps: Ints
    """Pictures of each clip; 0 for a clip without a signature."""
    video: Ints
    """Number of each clip's video."""
    start_ms: Ints
    """Start of each clip within its video."""
    step_ms: float
    """Length of a step."""

    def half_steps(self, ms: Ints) -> Ints:
        """Return times in half steps, rounded."""
        return np.rint(ms * HALF / self.step_ms).astype(np.int64)

    def in_ms(self, half_steps: Ints) -> Ints:
        """Return half steps in milliseconds, rounded."""
        return np.rint(half_steps * self.step_ms / HALF).astype(np.int64)

    def neighbours(self) -> tuple[Ints, Ints]:
        """Return for each clip the clip of its video that ends where it starts, and the one that starts where it ends.

        -1 stands for none: the video begins or ends there, or has a gap.
        """
        order = np.lexsort((self.start_ms, self.video))
        length = self.steps * self.step_ms
        gap = np.abs(np.diff(self.start_ms[order]) - length[order[:-1]])
        joined = (np.diff(self.video[order]) == 0) & (gap < self.step_ms)
        before, after = np.full(len(order), -1), np.full(len(order), -1)
        after[order[:-1][joined]] = order[1:][joined]
        before[order[1:][joined]] = order[:-1][joined]
        return before, after
