"""Flags of clips: thresholds on their measurements (`black`, `still`, `letterbox`, `cuts`, `overlay`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.clips.features import Measurements
from pipeline.config.clips import ClipConfig

_LIMITS = (
    ("black", "black_share", "max_black_share"),
    ("still", "still_share", "max_still_share"),
    ("letterbox", "letterbox_share", "max_letterbox_share"),
    ("cuts", "num_cuts", "max_cuts"),
    ("overlay", "overlay_share", "max_overlay_share"),
)
FLAGS: tuple[str, ...] = tuple(flag for flag, _, _ in _LIMITS)


def flags_of(measurements: Measurements | Mapping[str, Any], config: ClipConfig) -> list[str]:
    """Return the flags of a clip's measurements (or of its row in `clips`) under these thresholds."""
    values = vars(measurements) if isinstance(measurements, Measurements) else measurements
    return [flag for flag, column, limit in _LIMITS if values[column] > getattr(config, limit)]


def flag_masks(clips: pa.Table, config: ClipConfig) -> dict[str, npt.NDArray[np.bool_]]:
    """Return, for each flag, which rows of `clips` carry it under these thresholds.

    The column `flags` holds the flags under the thresholds that were set when the clip was cut; after a change of
    thresholds, these masks are the current ones.
    """
    return {
        flag: np.asarray(clips[column].to_numpy(zero_copy_only=False) > getattr(config, limit), bool)
        for flag, column, limit in _LIMITS
    }
