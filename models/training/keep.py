"""Which checkpoints of a run stay on disk: the last ones, one every so many steps, and the best ones.

    Keep(last=2, every=5000, best=1).kept([4000, 5000, 6000, 7000], {4000: 0.4, 6000: 0.5})   # all but none: 4 stay

The best are those of the lowest score, as each checkpoint says (`models.training.score`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.config.training import TrainingConfig


@dataclass(frozen=True)
class Keep:
    """How many checkpoints of which sort are kept; the newest always is."""

    last: int = 2
    """The newest ones: where one is damaged, the one before it is used."""
    every: int = 0
    """Those whose step is a multiple of this; 0 keeps none for it."""
    best: int = 0
    """Those of the lowest score."""
    best_by: str = "loss"
    """The metric that scores are of; a score by another one does not count."""

    def kept(self, steps: Sequence[int], scores: Mapping[int, float | None]) -> list[int]:
        """Return the steps that stay, in rising order.

        Args:
            steps: of the checkpoints that are there.
            scores: of each; None where it is not known.
        """
        ordered = sorted(steps)
        stay = set(ordered[-max(1, self.last) :])
        if self.every:
            stay |= {step for step in ordered if step and step % self.every == 0}
        known = {step: score for step in ordered if (score := scores.get(step)) is not None and math.isfinite(score)}
        # of equal scores the earlier one is better: it took fewer steps
        stay |= set(sorted(known, key=lambda step: (known[step], step))[: self.best])
        return sorted(stay)


def keep_of(config: TrainingConfig) -> Keep:
    """Return what a configuration asks to keep."""
    return Keep(config.keep_last, config.keep_every, config.keep_best, config.best_by)
