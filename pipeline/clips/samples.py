"""Which frames of a clip are kept as pictures and hashed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Planes = npt.NDArray[np.uint8]
"""8-bit planes of a clip's frames: (T, H, W)."""
Floats = npt.NDArray[np.float32]

NUM_SAMPLES = 8
"""Frames of a clip that are stored as pictures and hashed: the centres of eight equal parts."""


def sample_indices(num_frames: int) -> list[int]:
    """Return the sampled frames of a clip: the centres of eight equal parts."""
    return [min(num_frames - 1, (2 * i + 1) * num_frames // (2 * NUM_SAMPLES)) for i in range(NUM_SAMPLES)]


BAD_SAMPLE = "bad_sample"
"""Error class of a stored clip that cannot be read."""
