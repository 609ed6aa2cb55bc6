"""Rated clips as arrays: frames for the network, features for the baselines, sources for the folds.

Dimension keys: N clips, K frames of a clip, H rows, W columns, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classifier.pool import Pool
from classifier.training.arrays import Bools, Floats
from pipeline.clips.features import FEATURE_NAMES
from pipeline.clips.flags import FLAGS
from pipeline.clips.read import FRAME_COLUMNS, read_frames
from pipeline.config import ClassifierConfig
from pipeline.storage.store import Store

MEASUREMENTS = tuple(name for name in ("motion", "overlay_share", "letterbox_share") if name not in FEATURE_NAMES)
"""Columns of `clips` that are not among the hand-made features already."""
READERS = 4


@dataclass(frozen=True)
class Examples:
    """N rated clips, sorted by clip_id."""

    clip_ids: tuple[str, ...]
    rating_N: NDArray[np.int64]
    groups: tuple[str, ...]
    """Source of each clip: the unit that no fold and no split divides."""
    val_N: Bools
    """Whether the clip's source is held out."""
    frames_NKCHW: Tensor
    """uint8, at the network's input size."""
    features_NF: Floats
    """Measurements and hand-made features, named by `feature_names`; NaN where one is missing."""
    flags_NF: Bools
    """Technical flags, in the order of `FLAGS`."""
    unreadable: Mapping[str, str]
    """Reason by clip_id of clips whose frames could not be read; they are not among the N."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Return the names of the columns of `features_NF`."""
        return (*MEASUREMENTS, *FEATURE_NAMES)

    @property
    def extreme(self) -> Bools:
        """Return which clips are rated 5 or 1: the network learns from those alone (Genie App. B.1)."""
        return np.asarray((self.rating_N == 5) | (self.rating_N == 1))

    def take(self, mask_N: Bools) -> Examples:
        """Return the clips where a mask is true."""
        index = np.flatnonzero(mask_N)
        return Examples(
            clip_ids=tuple(self.clip_ids[i] for i in index),
            rating_N=self.rating_N[index],
            groups=tuple(self.groups[i] for i in index),
            val_N=self.val_N[index],
            frames_NKCHW=self.frames_NKCHW[torch.from_numpy(index)],
            features_NF=self.features_NF[index],
            flags_NF=self.flags_NF[index],
            unreadable=self.unreadable,
        )


def clip_frames(frames_KHWC: NDArray[np.uint8], config: ClassifierConfig) -> Tensor:
    """Return a clip's stored frames as the network sees them: uint8 (K, 3, H, W), evenly spaced, averaged down."""
    stored = len(frames_KHWC)
    count = min(config.frames_per_clip, stored)
    chosen = [(2 * i + 1) * stored // (2 * count) for i in range(count)]
    frames = frames_KHWC[chosen]
    factor = max(1, frames.shape[1] // config.input_height)
    height, width = frames.shape[1] // factor, frames.shape[2] // factor
    # in numpy, because torch would start threads of its own in every reading thread
    blocks = frames[:, : height * factor, : width * factor].reshape(count, height, factor, width, factor, 3)
    small = np.rint(blocks.mean((2, 4), dtype=np.float32)).astype(np.uint8)
    return torch.from_numpy(np.ascontiguousarray(small.transpose(0, 3, 1, 2)))


def read_clip_frames(
    store: Store, rows: Sequence[Mapping[str, Any]], config: ClassifierConfig
) -> list[Tensor | Exception]:
    """Return the frames of each row, in order; for a clip whose frames cannot be read, the error instead.

    Args:
        store: the store.
        rows: rows of `clips` with `FRAME_COLUMNS`.
        config: number of frames and size.
    """

    def read(row: Mapping[str, Any]) -> Tensor | Exception:
        # a damaged or missing tar costs its own clips only; any other error is a bug and is raised
        try:
            return clip_frames(read_frames(store, row), config)
        except (OSError, EOFError, ValueError) as exc:
            return exc

    # in the order of bytes in the tars, so that neighbouring ranges are read one after the other
    order = sorted(range(len(rows)), key=lambda i: (rows[i]["tar"] or "", rows[i]["frames_offset"] or 0))
    with ThreadPoolExecutor(READERS) as readers:
        found = dict(zip(order, readers.map(lambda i: read(rows[i]), order), strict=True))
    return [found[i] for i in range(len(rows))]


def load_examples(pool: Pool, ratings: Mapping[str, int], config: ClassifierConfig) -> Examples:
    """Return the rated clips of a pool as arrays, all frames in memory (8 of 160x90: 0.35 MB a clip).

    Args:
        pool: the clips that count.
        ratings: rating by clip_id; clips that are not in the pool are left out.
        config: number of frames and size.
    """
    columns = [*FRAME_COLUMNS, *MEASUREMENTS, "flags", "features"]
    rows = pool.scan(columns, clip_ids=ratings.keys()).to_pylist()
    loaded = list(zip(rows, read_clip_frames(pool.store, rows, config), strict=True))
    unreadable = {row["clip_id"]: str(found) for row, found in loaded if isinstance(found, Exception)}
    readable = [(row, found) for row, found in loaded if isinstance(found, Tensor)]
    rows = [row for row, _ in readable]
    empty = torch.zeros(0, config.frames_per_clip, 3, 1, 1, dtype=torch.uint8)
    return Examples(
        clip_ids=tuple(row["clip_id"] for row in rows),
        rating_N=np.array([ratings[row["clip_id"]] for row in rows], np.int64),
        groups=tuple(pool.group(row["video_id"]) for row in rows),
        val_N=np.array([pool.split(row["video_id"]) != "train" for row in rows], bool),
        frames_NKCHW=torch.stack([found for _, found in readable]) if readable else empty,
        features_NF=np.array([_features(row) for row in rows], np.float64).reshape(len(rows), -1),
        flags_NF=np.array([[flag in (row["flags"] or ()) for flag in FLAGS] for row in rows], bool).reshape(
            -1, len(FLAGS)
        ),
        unreadable=unreadable,
    )


def _features(row: Mapping[str, Any]) -> list[float]:
    hand = list(row["features"] or ())
    hand += [np.nan] * (len(FEATURE_NAMES) - len(hand))
    return [np.nan if value is None else float(value) for value in (*(row[name] for name in MEASUREMENTS), *hand)]
