"""The Frechet distance between two sets of feature vectors, each taken for a Gaussian (Dowson and Landau, 1982).

    |mu_x - mu_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2))

This is what FID and FVD compute on features of a network. With A and B the centred vectors over sqrt(N - 1), the trace
of the root is the sum of the singular values of A B^T. So no covariance is formed, inverted or rooted, and the distance
is exact for any number of vectors, fewer than dimensions too. It is biased upwards by about 1 / N all the same: compare
distances of equal N alone.

Shapes: N, M vectors; D dimensions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.floating]


def frechet(x_ND: Vectors, y_MD: Vectors) -> float:
    """Return the Frechet distance of two sets of vectors; ValueError where one has fewer than two."""
    if min(len(x_ND), len(y_MD)) < 2:
        raise ValueError("a covariance needs two vectors or more")
    (x_mean, x_root), (y_mean, y_root) = _moments(x_ND), _moments(y_MD)
    shift = x_mean - y_mean
    root = np.linalg.svd(x_root @ y_root.T, compute_uv=False).sum()
    spread = np.square(x_root).sum() + np.square(y_root).sum()
    return max(0.0, float(shift @ shift + spread - 2 * root))


def _moments(x_ND: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean (D,) and a matrix (K, D), K at most N and D, whose product with itself is the covariance."""
    x = np.asarray(x_ND, np.float64)
    mean = x.mean(0)
    centred = (x - mean) / np.sqrt(len(x) - 1)
    if len(x) <= x.shape[1]:
        return mean, centred
    # rotations of the vectors among each other change no covariance, so many vectors become D rows
    root: NDArray[np.float64] = np.asarray(np.linalg.qr(centred, mode="r"))
    return mean, root
