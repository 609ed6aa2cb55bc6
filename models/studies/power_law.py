"""Fit a power law to losses of several sizes, with what runs and sources leave open.

    fit_power_law(np.array([1e5, 4e5]), [losses_RS_of_the_first, losses_RS_of_the_second]).exponent

The law is loss = factor * size ** -exponent: a line in both logarithms. Runs with a loss that does not fall to 0 bend
away from it; a handful of sizes within a factor of 30 cannot tell the bend, so no constant is fitted.

Shapes: R seeds, S held-out sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.bootstrap import interval_95

_DRAWS = 2000


class PowerLaw(NamedTuple):
    """loss = factor * size ** -exponent."""

    exponent: float
    low: float
    """Ends of the 95 % interval of the exponent."""
    high: float
    factor: float
    residual: float
    """Root mean square of the logarithms' distance from the line: 0.01 is one percent of the loss."""

    def at(self, size: float) -> float:
        """Return the loss that the law gives for a size."""
        return float(self.factor * size**-self.exponent)


def fit_power_law(sizes_N: np.ndarray, losses: Sequence[np.ndarray], *, seed: int = 0) -> PowerLaw:
    """Return the law of losses, with the interval of its exponent.

    Each draw of the bootstrap resamples the seeds of every size by themselves, and the sources of all sizes together,
    because all sizes are measured on the same ones.

    Args:
        sizes_N: what is scaled, above 0, at least two different ones.
        losses: per size, a loss per seed and source (R, S), above 0.
        seed: of the draws.

    Raises:
        ValueError: fewer than two sizes, or a size or loss that has no logarithm.
    """
    if len(set(sizes_N.tolist())) < 2 or len(sizes_N) != len(losses):
        raise ValueError(f"{len(sizes_N)} sizes and {len(losses)} losses: a line needs two or more of both")
    if not (np.all(sizes_N > 0) and all(np.all(loss > 0) for loss in losses)):
        raise ValueError("a power law is of sizes and losses above 0")
    rng = np.random.default_rng(seed)
    x = np.log(sizes_N)
    slope, start = _line(x, np.log([loss.mean() for loss in losses]))
    sources = losses[0].shape[1]
    drawn = []
    for _ in range(_DRAWS):
        among = rng.integers(0, sources, sources)
        means = [loss[rng.integers(0, len(loss), len(loss))][:, among].mean() for loss in losses]
        drawn.append(-_line(x, np.log(means))[0])
    low, high = interval_95(np.array(drawn))
    far = np.log([loss.mean() for loss in losses]) - (start + slope * x)
    return PowerLaw(-slope, low, high, float(np.exp(start)), float(np.sqrt((far**2).mean())))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    return slope, float(y.mean() - slope * x.mean())
