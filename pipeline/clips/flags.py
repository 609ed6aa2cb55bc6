"""Flags of clips: thresholds on their measurements (`black`, `still`, `letterbox`, `cuts`, `overlay`), and `hdr`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.clips.features import Measurements
from pipeline.config.clips import ClipConfig
from pipeline.footage.look import HDR_TRANSFERS

_LIMITS = (
    ("black", "black_share", "max_black_share"),
    ("still", "still_share", "max_still_share"),
    ("letterbox", "letterbox_share", "max_letterbox_share"),
    ("cuts", "num_cuts", "max_cuts"),
    ("overlay", "overlay_share", "max_overlay_share"),
    ("panel", "panel_share", "max_panel_share"),
    ("text", "text_density", "max_text_density"),
)
HDR = "hdr"
"""Flag of clips whose picture is HDR (by transfer function or side data) and was not tone-mapped: it is washed out."""
FLAGS: tuple[str, ...] = (*(flag for flag, _, _ in _LIMITS), HDR)


def flags_of(measurements: Measurements | Mapping[str, Any], config: ClipConfig) -> list[str]:
    """Return the flags of a clip's measurements (or of its row in `clips`, which adds `hdr`) under these thresholds."""
    values = vars(measurements) if isinstance(measurements, Measurements) else measurements
    # rows of older versions lack some measurements
    flags = [flag for flag, column, limit in _LIMITS if (values.get(column) or 0) > getattr(config, limit)]
    return [*flags, HDR] if _is_hdr(values.get("transfer"), values.get("changes")) else flags


def flag_masks(clips: pa.Table, config: ClipConfig) -> dict[str, npt.NDArray[np.bool_]]:
    """Return, for each flag, which rows of `clips` carry it under these thresholds.

    The column `flags` holds the flags under the thresholds that were set when the clip was cut; after a change of
    thresholds, these masks are the current ones.
    """
    masks = {
        flag: np.asarray(clips[column].to_numpy(zero_copy_only=False) > getattr(config, limit), bool)
        for flag, column, limit in _LIMITS
    }
    pairs = zip(clips["transfer"].to_pylist(), clips["changes"].to_pylist(), strict=True)
    return masks | {HDR: np.array([_is_hdr(*pair) for pair in pairs], bool)}


def _is_hdr(transfer: str | None, changes: list[str] | None) -> bool:
    # rows of older versions hold neither
    return transfer in HDR_TRANSFERS and "tone-mapped" not in (changes or ())
