"""Measure how a clip moves: its scrolling and how long it stands still."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.clips.samples import Floats, Planes


def frame_histograms(luma: Planes) -> Floats:
    """Return each frame's histogram over 16 levels of luma, of every ninth pixel; rows sum to 1."""
    levels = (luma[:, ::3, ::3] >> 4).reshape(len(luma), -1).astype(np.int32)
    levels += np.arange(len(luma), dtype=np.int32)[:, None] * 16
    counts = np.bincount(levels.ravel(), minlength=len(luma) * 16).reshape(len(luma), 16)
    return np.asarray(counts / levels.shape[1], np.float32)


def longest_run(still: npt.NDArray[np.bool_]) -> float:
    """Return the longest run of still frames as a share of the clip."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], still.view(np.int8), [0]])))
    return float((edges[1::2] - edges[::2]).max() / len(still)) if len(edges) else 0.0


def scroll_of(luma: Planes) -> tuple[float, float, float, float]:
    """Return how the picture scrolls: share of sideways steps, their strength, pixels a step, share of vertical steps.

    Measured by phase correlation of 16 pairs of frames at half size. Signs are dropped: a level may run either way.
    """
    first = np.linspace(0, len(luma) - 2, 16).astype(int)
    window = np.outer(np.hanning(luma[0, ::2].shape[0]), np.hanning(luma[0, 0, ::2].shape[0])).astype(np.float32)

    def spectra(indices: Any) -> Any:
        small = luma[indices, ::2, ::2].astype(np.float32)
        return np.fft.rfft2((small - small.mean(axis=(1, 2), keepdims=True)) * window)

    before, after = spectra(first), spectra(first + 1)
    # products and absolute values by their parts: numpy's own differ in the last digit from processor to processor
    real = before.real * after.real + before.imag * after.imag
    imaginary = before.imag * after.real - before.real * after.imag
    size = np.sqrt(real * real + imaginary * imaginary) + np.float32(1e-3)
    surface = np.fft.irfft2(real / size + 1j * (imaginary / size), s=window.shape)
    peaks = surface.reshape(len(first), -1).argmax(axis=1)
    strength = surface.reshape(len(first), -1).max(axis=1)
    dy, dx = np.divmod(peaks, window.shape[1])
    dy, dx = np.minimum(dy, window.shape[0] - dy), np.minimum(dx, window.shape[1] - dx)
    clear = strength > 0.05
    sideways, upwards = clear & (dx > 0) & (dy <= 1), clear & (dy > 0) & (dx <= 1)
    return (
        float(sideways.mean()),
        float((strength * sideways).mean()),
        float((2 * dx * sideways).mean()),
        float(upwards.mean()),
    )
