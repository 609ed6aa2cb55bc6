"""Metrics of steps, thinned to a bounded number for a person who watches: Dagster's observations, or a pipe to it.

A value that is measured rarely (on held-out sources) is passed on with the next step that is: none is lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from models.training.tracker import shown_name

MOST = 200
"""Observations of a run: in Dagster's database their cost grows faster than their number."""


class Observed:
    """Passes the metrics of at most 200 steps on."""

    def __init__(self, total_steps: int, send: Callable[[int, dict[str, float]], None], most: int = MOST) -> None:
        """Spread the steps that are passed on evenly over a training.

        Args:
            total_steps: of the whole training.
            send: receives the step (from 1) and its finite metrics, by the names of `shown_name`.
            most: steps that are passed on.
        """
        self._every = max(1, -(-max(total_steps, 1) // most))
        self._last = total_steps
        self._left = most
        self._send = send
        self._kept: dict[str, float] = {}

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        """Take the metrics of a step; those of most steps are not passed on."""
        finite = {shown_name(name): float(value) for name, value in values.items() if math.isfinite(value)}
        self._kept |= {name: value for name, value in finite.items() if not name.startswith("train/")}
        if not self._left or (step % self._every and step != self._last):
            return
        self._left -= 1
        self._send(step, {**finite, **self._kept})
        self._kept = {}
