"""The matrix of latent actions against true actions: how often each goes with each, with intervals by source.

Shapes: S sources, K latent actions, A true actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from pipeline.bootstrap import LEAST_FOR_INTERVAL, draw_counts
from pipeline.config import EvaluationConfig


class ActionMatrix(TypedDict):
    """The matrix as JSON has it; rows are latent actions, columns true ones."""

    actions: list[str]
    """Names of the true actions."""
    counts: list[list[int]]
    """Transitions of held-out videos."""
    share: list[list[float | None]]
    """Of the transitions of the latent action; None for one that was never inferred."""
    low: list[list[float | None]]
    """Lower ends of the 95 % intervals of the shares, over sources; None of fewer than `LEAST_FOR_INTERVAL`."""
    high: list[list[float | None]]
    num_sources: int


def action_matrix(tables_SKA: np.ndarray, names: Sequence[str], config: EvaluationConfig) -> ActionMatrix:
    """Return the matrix of tables of counts by source (`models.evaluation.consistency.true_tables`)."""
    counts = tables_SKA.sum(0)
    drawn = draw_counts(len(tables_SKA), config.bootstrap_draws, config.seed)
    shares = _shares(np.einsum("ds,ska->dka", drawn, tables_SKA))
    low, high = np.full(counts.shape, np.nan), np.full(counts.shape, np.nan)
    used = counts.sum(1) > 0
    if used.any() and len(tables_SKA) >= LEAST_FOR_INTERVAL:
        low[used], high[used] = np.nanpercentile(shares[:, used], [2.5, 97.5], axis=0)
    return {
        "actions": list(names),
        "counts": counts.astype(int).tolist(),
        "share": _plain(_shares(counts)),
        "low": _plain(low),
        "high": _plain(high),
        "num_sources": len(tables_SKA),
    }


def _shares(counts: np.ndarray) -> np.ndarray:
    total = counts.sum(-1, keepdims=True)
    return np.where(total > 0, counts / np.maximum(total, 1), np.nan)


def _plain(values: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in values]
