"""Judge a checkpoint by a metric of the steps since the one before: `training.keep_best` keeps the best ones.

score = Score("held_out/psnr")
score.add(metrics)                # of each step
score.about(is_due=True)          # {"score": -31.2}: the lowest is the best
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.errors import UserError

_HELD_OUT = "held_out/"


class Score:
    """The mean of a metric since the last checkpoint that was due."""

    def __init__(self, metric: str = "loss") -> None:
        """Begin with no step; `metric` is `training.best_by`."""
        self._metric = metric
        self._sum, self._count = 0.0, 0
        self._seen: set[str] = set()

    def add(self, metrics: Mapping[str, float]) -> None:
        """Add a step; one without the metric does not count."""
        self._seen |= set(metrics)
        if self._metric in metrics:
            self._sum, self._count = self._sum + metrics[self._metric], self._count + 1

    def begin(self) -> None:
        """Begin with no step again."""
        self._sum, self._count = 0.0, 0

    def about(self, is_due: bool) -> dict[str, Any]:
        """Return what a checkpoint says of it: its score, and where it was not due, what the next one adds to.

        The score of a loss is its mean; of any other metric, which is better the higher it is, the mean below zero.
        """
        sign = 1 if "loss" in self._metric else -1
        score = {"score": sign * self._sum / self._count, "judged_by": self._metric} if self._count else {}
        return score if is_due else {**score, "judged": [self._metric, self._sum, self._count]}

    def load(self, about: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint says, if it was judged by the same metric."""
        metric, total, count = about.get("judged", ("", 0.0, 0))
        self._sum, self._count = (float(total), int(count)) if metric == self._metric else (0.0, 0)

    def check(self) -> None:
        """Raise a UserError where steps that have all metrics do not have this one."""
        measured = any(name.startswith(_HELD_OUT) for name in self._seen)
        if self._metric in self._seen or (self._metric.startswith(_HELD_OUT) and not measured) or not self._seen:
            return
        raise UserError(
            f"training.best_by = {self._metric!r}: the steps have no such metric; they have "
            f"{', '.join(sorted(self._seen))}"
        )
