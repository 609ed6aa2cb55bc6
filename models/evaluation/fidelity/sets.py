"""Distances between the set of generated videos and the set of true ones, on the features of one network.

Frechet distance (`FVD[net]`, of frames `FID[net]`) and unbiased polynomial discrepancy (`MMD[net]`). Beside each value
stand an interval by source and two floors: what the tokenizer loses by itself, and what two halves of the true videos
differ by. All take the same halves of the sources.

Shapes: N videos, T frames, D features, S sources, K draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.distances.frechet import frechet
from models.distances.halves import draw_halves, spread_of
from models.distances.kernel import KernelSums
from models.evaluation.fidelity.figure import Figure, Figures, absent, of_metric
from models.evaluation.metric import Metric
from models.features.choose import MissingNet
from models.features.net import FeatureNet
from pipeline.bootstrap import interval_95
from pipeline.config import EvaluationConfig

Vectors = NDArray[np.float64]
Mask = NDArray[np.bool_]
_Between = Callable[[int, Mask, int, Mask], float]
TRUE, GENERATED, RECONSTRUCTED = 0, 1, 2
MOST_SOURCES = 4096
"""Sources that a discrepancy takes: its tables of pairs of sources are then 134 MB each."""


@dataclass(frozen=True, eq=False)
class FeatureSets:
    """Features of true, generated and reconstructed videos of the same windows."""

    net: FeatureNet
    sets: list[Vectors]
    """By `TRUE`, `GENERATED` and, where there is a tokenizer, `RECONSTRUCTED`: (N, D) each, or (N, T, D) of frames."""
    sources: list[str]
    """Of each window (N,)."""

    def flat(self) -> tuple[list[Vectors], NDArray[Any]]:
        """Return the sets as vectors, a frame each for a network of frames, with the source of each vector."""
        sources = np.asarray(self.sources)
        if self.net.kind == "video":
            return self.sets, sources
        return [each.reshape(-1, each.shape[-1]) for each in self.sets], np.repeat(sources, self.sets[0].shape[1])


def figure_names(net: FeatureNet | MissingNet) -> tuple[str, str]:
    """Return the names of the Frechet distance and of the discrepancy on a network."""
    return f"{'FVD' if net.kind == 'video' else 'FID'}[{net.name}]", f"MMD[{net.name}]"


def set_distances(found: FeatureSets, config: EvaluationConfig) -> Figures:
    """Return the Frechet distance and the discrepancy of the generated videos from the true ones.

    Args:
        found: the features, of `LEAST_SOURCES` sources or more.
        config: draws and seed.
    """
    net, count = found.net, len(set(found.sources))
    names = figure_names(net)
    vectors, sources = found.flat()
    about: Figure = {"value": None, "num_samples": len(vectors[TRUE]), "net": net.facts()}
    places = np.unique(sources, return_inverse=True)[1]
    halves = draw_halves(count, config.fidelity_draws, config.seed)

    def frechet_of(a: int, of_a: Mask, b: int, of_b: Mask) -> float:
        return frechet(vectors[a][of_a[places]], vectors[b][of_b[places]])

    by_frechet, limit = _figure(frechet_of, halves, len(vectors))
    samples = len(vectors[TRUE])
    by_frechet["limit"] = limit
    if samples < net.dimension:
        by_frechet["note"] = (
            f"{samples} vectors of {net.dimension} features: biased upwards, so compare it with its floors, and with "
            "figures of as many vectors alone"
        )
    return {names[0]: {**about, **by_frechet}, names[1]: {**about, **_discrepancy(vectors, sources, halves)}}


def _discrepancy(vectors: list[Vectors], sources: NDArray[Any], halves_KS: NDArray[np.bool_]) -> Figure:
    if (count := halves_KS.shape[1]) > MOST_SOURCES:
        reason = f"{count} sources, and {MOST_SOURCES} are the most that are compared pair by pair: judge fewer"
        return absent(reason, count)
    sums = KernelSums(vectors, sources.tolist())

    def mmd_of(a: int, of_a: Mask, b: int, of_b: Mask) -> float:
        return sums.mmd(a, b, of_a, of_b)

    figure, _ = _figure(mmd_of, halves_KS, len(vectors))
    figure["standard_error"] = sums.standard_error(TRUE, GENERATED)
    return figure


def _figure(between: _Between, halves_KS: NDArray[np.bool_], num_sets: int) -> tuple[Figure, float]:
    """Return a figure with its interval and floors, and its limit; `between` measures sets of some of the sources."""
    every = np.ones(halves_KS.shape[1], bool)
    values: list[Metric] = []
    limits: list[float] = []
    for other in range(1, num_sets):
        value = between(TRUE, every, other, every)
        drawn = np.array([between(TRUE, half, other, half) for half in halves_KS])
        spread = spread_of(value, drawn, len(every))
        values.append({"value": value, "low": spread.low, "high": spread.high, "num_sources": len(every)})
        limits.append(spread.limit)
    floors: dict[str, Metric] = {"tokenizer": values[1]} if num_sets > RECONSTRUCTED else {}
    floors["halves"] = _across(between, TRUE, halves_KS)
    figure = of_metric(values[0])
    figure["floors"], figure["on_halves"] = floors, _across(between, GENERATED, halves_KS)
    return figure, limits[0]


def _across(between: _Between, chosen: int, halves_KS: NDArray[np.bool_]) -> Metric:
    """Return the distance of one half of the sources in a set from the other half's true videos, and its spread."""
    drawn = np.array([between(TRUE, ~half, chosen, half) for half in halves_KS])
    low, high = interval_95(drawn)
    return {"value": float(drawn.mean()), "low": low, "high": high, "num_sources": int(halves_KS[0].sum())}
