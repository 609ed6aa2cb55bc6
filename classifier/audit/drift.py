"""How far two distributions lie apart: the population stability index and the Kolmogorov-Smirnov distance.

PSI sums (p - q) ln(p / q) over the deciles of the reference: below 0.1 nothing moved, above 0.25 much did. KS is the
largest difference of the two cumulative distributions, 0 to 1. A value that is not known (NaN) counts as a bin of its
own in the PSI and is left out of the KS.

Shapes: R values of the reference, N present values.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from classifier.training.arrays import Floats

_BINS = 10
_LEAST_SHARE = 1e-4
"""What an empty bin counts as."""


class Distance(TypedDict):
    """How far the present values lie from those of the reference."""

    psi: float
    ks: float


def distance(reference_R: Floats, present_N: Floats) -> Distance | None:
    """Return the distance of two samples of a number; None where one of them is empty."""
    if not len(reference_R) or not len(present_N):
        return None
    known_R, known_N = reference_R[~np.isnan(reference_R)], present_N[~np.isnan(present_N)]
    # equal quantiles (a measurement that is mostly 0) are one edge
    edges = np.unique(np.quantile(known_R, np.linspace(0, 1, _BINS + 1)[1:-1])) if len(known_R) else np.zeros(1)
    return Distance(
        psi=_psi(_shares(reference_R, known_R, edges), _shares(present_N, known_N, edges)), ks=_ks(known_R, known_N)
    )


def psi_by_chance(reference: int, present: int) -> float:
    """Return the PSI to expect of two samples of one distribution, by their sizes: with few values it is large."""
    return (_BINS - 1) * (1 / reference + 1 / present) if reference and present else 0.0


def _shares(values_N: Floats, known_N: Floats, edges: Floats) -> Floats:
    """Return the share of values in each bin, and of those that are not known."""
    counts = np.bincount(np.searchsorted(edges, known_N, side="left"), minlength=len(edges) + 1)
    counts = np.append(counts, len(values_N) - len(known_N))
    return np.maximum(counts / len(values_N), _LEAST_SHARE)


def _psi(first: Floats, second: Floats) -> float:
    return float(((second - first) * np.log(second / first)).sum())


def _ks(first_R: Floats, second_N: Floats) -> float:
    if not len(first_R) or not len(second_N):
        return 0.0 if len(first_R) == len(second_N) else 1.0
    first, second = np.sort(first_R), np.sort(second_N)
    places = np.concatenate([first, second])
    below_first = np.searchsorted(first, places, side="right") / len(first)
    below_second = np.searchsorted(second, places, side="right") / len(second)
    return float(np.abs(below_first - below_second).max())
