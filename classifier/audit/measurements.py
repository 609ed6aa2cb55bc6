"""Which measurements of the clips moved between two decisions: new footage that the classifier did not learn from.

Shapes: N clips, F measurements.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifier.audit.drift import Distance, distance
from classifier.pool import Pool
from pipeline.clips.features import FEATURE_NAMES
from pipeline.clips.read import scan_clips
from pipeline.storage.arrow import among


class MeasurementDistance(Distance):
    """How far the clips of two decisions lie apart in one measurement."""

    name: str


def measurement_distances(pool: Pool, before: Collection[str], now: Collection[str]) -> list[MeasurementDistance]:
    """Return the distance of each measurement between the clips of two decisions, the largest PSI first.

    Clips that are gone, or were measured by a version with other measurements, are left out; empty without any.
    """
    features_NF, ids = _features(pool, {*before, *now})
    was, is_now = (np.isin(ids, sorted(some)) for some in (before, now))
    found = []
    for place, name in enumerate(FEATURE_NAMES):
        apart = distance(features_NF[was, place], features_NF[is_now, place])
        if apart is not None:
            found.append(MeasurementDistance(name=name, psi=apart["psi"], ks=apart["ks"]))
    return sorted(found, key=lambda one: (-one["psi"], one["name"]))


def _features(pool: Pool, clip_ids: Collection[str]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.str_]]:
    """Return the measurements (N, F) and ids (N,) of some clips; a large table is read a part at a time."""
    wanted = pa.array(sorted(clip_ids), pa.string())
    rows: list[list[float]] = []
    ids: list[str] = []
    for part in scan_clips(pool.store, pool.config, ["clip_id", "features"]):
        for row in part.filter(among(part["clip_id"], wanted)).to_pylist():
            if len(row["features"] or ()) == len(FEATURE_NAMES):
                rows.append(row["features"])
                ids.append(row["clip_id"])
    return np.array(rows, float).reshape(len(rows), len(FEATURE_NAMES)), np.array(ids, str)
