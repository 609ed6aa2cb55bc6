"""How well each measurement of clips tells good clips from bad ones, on the rated clips of a store.

One measurement at a time, without any training: the table says what a flag or a feature is worth on this footage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classifier.pool import Pool
from classifier.training.arrays import Bools, Floats
from classifier.training.auc import auc, weighted_auc
from classifier.training.intervals import Interval, source_interval
from pipeline.clips.features import FEATURE_NAMES
from pipeline.clips.flags import FLAGS, flag_masks
from pipeline.errors import UserError

COLUMNS = (
    "black_share", "still_share", "letterbox_share", "num_cuts", "longest_shot_share", "overlay_share", "panel_share",
    "text_density", "sharpness", "blockiness", "scroll_share", "scroll_speed", "motion",
)  # fmt: skip
"""The measurements that are columns of `clips`."""


@dataclass(frozen=True)
class MeasurementAuc:
    """One measurement: the AUC of its value, 0.5 for one that tells nothing, less where a large value is bad."""

    name: str
    auc: float
    """Clips rated 4 or 5 against those rated 1 or 2."""
    interval: Interval | None
    """95 %, by bootstrap over sources; None with fewer than three sources."""
    extremes: float
    """Clips rated 5 against those rated 1."""


@dataclass(frozen=True)
class MeasurementTable:
    """All measurements on the rated clips of a store."""

    good: int
    bad: int
    sources: int
    rows: tuple[MeasurementAuc, ...]
    flags: Mapping[str, tuple[int, ...]]
    """For each flag the clips that carry it: rated 4 or 5, rated 3, rated 1 or 2."""


def measurement_table(pool: Pool, ratings: Mapping[str, int]) -> MeasurementTable:
    """Return the AUC of each measurement on the rated clips of a pool.

    Raises:
        UserError: there are no clips rated 4 or 5, or none rated 1 or 2.
    """
    clips = pool.scan([*COLUMNS, "transfer", "changes", "features"], clip_ids=ratings.keys())
    rating_N = np.array([ratings[str(clip_id)] for clip_id in clips["clip_id"].to_pylist()], np.int64)
    groups = [pool.group(str(video_id)) for video_id in clips["video_id"].to_pylist()]
    good_N, bad_N = rating_N >= 4, rating_N <= 2
    if not good_N.any() or not bad_N.any():
        raise UserError(
            f"of the clips as they are cut now, {int(good_N.sum())} are rated 4 or 5 and {int(bad_N.sum())} rated "
            "1 or 2: cut what is due (`lampworks run`), and rate some of both (`lampworks label`)"
        )
    values: dict[str, Floats] = {
        name: np.array([np.nan if value is None else value for value in clips[name].to_pylist()], np.float64)
        for name in COLUMNS
    }
    features = clips["features"].to_pylist()
    for place, name in enumerate(FEATURE_NAMES):
        if name not in values:
            known = [row[place] if row is not None and len(row) > place else np.nan for row in features]
            values[name] = np.array(known, np.float64)
    rows = tuple(_row(name, value_N, rating_N, groups) for name, value_N in values.items())
    masks = flag_masks(clips, pool.config.clips)
    levels = (good_N, rating_N == 3, bad_N)
    flags = {flag: tuple(int((masks[flag] & level_N).sum()) for level_N in levels) for flag in FLAGS}
    sources = {group for group, rating in zip(groups, rating_N, strict=True) if rating != 3}
    return MeasurementTable(int(good_N.sum()), int(bad_N.sum()), len(sources), rows, flags)


def _row(name: str, value_N: Floats, rating_N: NDArray[np.int64], groups: list[str]) -> MeasurementAuc:
    known_N = np.isfinite(value_N)
    decided_N = known_N & (rating_N != 3)
    extreme_N = known_N & ((rating_N == 5) | (rating_N == 1))
    good_N: Bools = rating_N >= 4
    chosen = [group for group, use in zip(groups, decided_N, strict=True) if use]
    return MeasurementAuc(
        name=name,
        auc=auc(value_N[decided_N], good_N[decided_N]),
        interval=source_interval(weighted_auc(value_N[decided_N], good_N[decided_N]), chosen),
        extremes=auc(value_N[extreme_N], good_N[extreme_N]),
    )
