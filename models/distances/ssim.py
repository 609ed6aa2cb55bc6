"""The structural similarity of pictures (Wang et al., 2004): Gaussian windows of 11 pixels with sigma 1.5.

Computed for each colour of pictures in [0, 1], and averaged over colours and over the windows that lie wholly inside,
as scikit-image does with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1`.

Shapes: N pictures, H W C pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

_RADIUS, _SIGMA = 5, 1.5
_C1, _C2 = 0.01**2, 0.03**2
LEAST_SIDE = 2 * _RADIUS + 1
"""Pixels of the shortest side that has a window inside."""


def ssim(truth_NHWC: NDArray[np.uint8], guess_NHWC: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the structural similarity (N,) of pictures; ValueError where sizes differ or a side is below 11 pixels."""
    if truth_NHWC.shape != guess_NHWC.shape:
        raise ValueError(f"truth {truth_NHWC.shape} and guess {guess_NHWC.shape} differ in shape")
    if min(truth_NHWC.shape[1:3]) < LEAST_SIDE:
        raise ValueError(f"a side is shorter than a window of {LEAST_SIDE} pixels")
    pairs = zip(truth_NHWC, guess_NHWC, strict=True)
    return np.array([_one(truth / np.float32(255), guess / np.float32(255)) for truth, guess in pairs])


def _one(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    both = _blur(x * y) - mean_x * mean_y
    same = (2 * mean_x * mean_y + _C1) * (2 * both + _C2)
    found = same / ((mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2))
    return float(found[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS].mean(dtype=np.float64))


def _blur(x: NDArray[np.float32]) -> NDArray[np.float32]:
    weights = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) ** 2)
    weights /= weights.sum()
    found: NDArray[np.float32] = correlate1d(correlate1d(x, weights, axis=0), weights, axis=1)
    return found
