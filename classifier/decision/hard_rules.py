"""Hard rules: what drops a clip whatever its score, read from the columns of `clips` for many clips at once.

A technical flag drops a clip where `decision.drop_flags` names it. Scene cuts drop frames and not clips: no training
window spans a cut, so only frames in shots of `decision.shot_frames` or more are of use, and a clip is dropped where
fewer of its frames are than `decision.min_usable_share`.

Dimension keys: N clips of a batch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifier.training.arrays import Floats
from pipeline.clips.flags import FLAGS
from pipeline.errors import UserError
from pipeline.storage.arrow import Column, pc

Bits = npt.NDArray[np.uint64]
HARD_COLUMNS = ("flags", "cut_ms", "num_frames", "fps")
"""Columns of `clips` that the hard rules read."""


def check_flags(names: Collection[str]) -> None:
    """Raise UserError where `decision.drop_flags` names a flag that no clip can have."""
    unknown = sorted(set(names) - set(FLAGS))
    if unknown:
        raise UserError(
            f"decision.drop_flags names {unknown[0]!r}, which is no flag of a clip: the flags are {', '.join(FLAGS)}"
        )


@dataclass
class FlagWords:
    """Sets of flags as bits of one number, in the order of `FLAGS`; flags of other versions come after these."""

    names: list[str] = field(default_factory=lambda: list(FLAGS))

    def bits(self, flags: Column) -> Bits:
        """Return the flags of each clip (N,)."""
        flags = pc.fill_null(flags.combine_chunks() if isinstance(flags, pa.ChunkedArray) else flags, [])
        values = flags.flatten()
        self.names += sorted(set(pc.unique(values).to_pylist()) - {None, *self.names})
        bit = np.left_shift(np.uint64(1), pc.index_in(values, pa.array(self.names)).to_numpy(False).astype(np.uint64))
        found = np.zeros(len(flags), np.uint64)
        np.bitwise_or.at(found, pc.list_parent_indices(flags).to_numpy(False), bit)
        return found

    def mask(self, names: Collection[str]) -> np.uint64:
        """Return the bits of some flags."""
        return np.uint64(sum(1 << index for index, name in enumerate(self.names) if name in names))

    def texts(self, bits: Bits) -> Mapping[int, list[str]]:
        """Return the flags of every number that occurs."""
        return {
            int(value): [name for index, name in enumerate(self.names) if int(value) >> index & 1]
            for value in np.unique(bits)
        }


def usable_shares(clips: pa.Table, shot_frames: int) -> Floats:
    """Return the share of each clip's frames that lie in shots of at least `shot_frames` (N,).

    A clip without a cut is one shot, and all of it is usable. The frames are those of the training's loader.

    Args:
        clips: rows of `clips` with `HARD_COLUMNS`.
        shot_frames: frames of the shortest shot that counts.
    """
    shares = np.ones(len(clips))
    counts = pc.fill_null(pc.list_value_length(clips["cut_ms"]), 0).to_numpy()
    frames = pc.fill_null(clips["num_frames"], 0).to_numpy()
    fps = pc.fill_null(clips["fps"], 0.0).to_numpy()
    some = np.flatnonzero((counts > 0) & (frames > 0) & (fps > 0))
    cut_times: list[list[int]] = pc.take(clips["cut_ms"], pa.array(some)).to_pylist()
    for index, cut_ms in zip(some.tolist(), cut_times, strict=True):
        total = int(frames[index])
        cuts = sorted({round(at * float(fps[index]) / 1000) for at in cut_ms})
        edges = np.array([0, *(cut for cut in cuts if 0 < cut < total), total])
        shots = np.diff(edges)
        shares[index] = 1.0 if len(shots) == 1 else shots[shots >= shot_frames].sum() / total
    return shares
