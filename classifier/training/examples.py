"""Rated clips as arrays: measurements, embeddings and frames for the candidates, sources for the folds.

Dimension keys: N clips, F measurements, D numbers of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from classifier.embedding.stored import read_embeddings
from classifier.pool import Pool
from classifier.training.arrays import Bools, Floats, Rows
from classifier.training.frames import ClipFrames, load_frames
from classifier.training.groups import joined_groups
from classifier.training.inputs import ClipInputs, Embeddings, Need
from classifier.training.weights import clip_weights
from pipeline.clips.features import FEATURE_NAMES
from pipeline.clips.flags import FLAGS
from pipeline.clips.read import FRAME_COLUMNS
from pipeline.config import ClassifierConfig
from pipeline.errors import UserError
from pipeline.storage.arrow import Column, pc

MEASUREMENTS = tuple(name for name in ("motion", "overlay_share", "letterbox_share") if name not in FEATURE_NAMES)
"""Columns of `clips` that are not among the hand-made features already."""
FEATURE_COLUMNS = (*MEASUREMENTS, "features")
"""Columns of `clips` that `features_of` reads."""


@dataclass(frozen=True)
class Examples:
    """N rated clips, sorted by clip_id."""

    clip_ids: tuple[str, ...]
    rating_N: NDArray[np.int64]
    groups: tuple[str, ...]
    """Source of each clip, joined with those that it shares copies with: the unit that no fold divides."""
    val_N: Bools
    """Whether the clip's source is held out of the world model's training."""
    features_NF: Floats
    """Measurements and hand-made features, named by `feature_names()`; NaN where one is missing."""
    flags_NF: Bools
    """Technical flags, in the order of `FLAGS`."""
    weight_N: Floats
    """How many clips of the pool each stands for, as a ratio; 1 where the draw is not known."""
    weights: str
    """`inclusion`, `part` or `none`: whether the weights come from the probabilities of the draw."""
    frames: ClipFrames | None
    """At the network's input size; None where no candidate needs them."""
    embedding_ND: Embeddings | None
    """A row of NaN for a clip without one; None where no clip has one."""
    no_embedding: str
    """Why no embedding could be read; empty where they could, or were not asked for."""
    unreadable: Mapping[str, str]
    """Reason by clip_id of clips whose frames could not be read; they are not among the N."""

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clip_ids)

    def take(self, rows: Rows | Bools) -> Examples:
        """Return some of the clips; frames are shared, not copied."""
        index: Rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64, copy=False)
        return Examples(
            clip_ids=tuple(self.clip_ids[i] for i in index),
            rating_N=self.rating_N[index],
            groups=tuple(self.groups[i] for i in index),
            val_N=self.val_N[index],
            features_NF=self.features_NF[index],
            flags_NF=self.flags_NF[index],
            weight_N=self.weight_N[index],
            weights=self.weights,
            frames=None if self.frames is None else self.frames.take(index),
            embedding_ND=None if self.embedding_ND is None else self.embedding_ND[index],
            no_embedding=self.no_embedding,
            unreadable=self.unreadable,
        )

    def inputs(self, rows: Rows, needs: frozenset[Need]) -> ClipInputs:
        """Return the arrays of some of the clips that a scorer needs."""
        return ClipInputs(
            features_NF=self.features_NF[rows],
            frames_NKCHW=self.frames.read(rows) if self.frames is not None and "frames" in needs else None,
            embedding_ND=self.embedding_ND[rows] if self.embedding_ND is not None and "embedding" in needs else None,
        )

    def grouped(self, groups: Sequence[str]) -> Examples:
        """Return the same clips under other groups, one a clip."""
        assert len(groups) == len(self)
        return replace(self, groups=tuple(groups))


def feature_names() -> tuple[str, ...]:
    """Return the names of the columns of `features_NF`."""
    return (*MEASUREMENTS, *FEATURE_NAMES)


def features_of(rows: Sequence[Mapping[str, Any]]) -> Floats:
    """Return the measurements (N, F) of rows of `clips` with FEATURE_COLUMNS; NaN where a row lacks one."""
    return np.array([_features(row) for row in rows], np.float64).reshape(len(rows), len(feature_names()))


def features_of_table(table: pa.Table) -> Floats:
    """Return what `features_of` does, by column: some hundred clips in the time of one."""
    lists: Column = table["features"].combine_chunks()
    length_N = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    values = np.asarray(lists.flatten().to_numpy(zero_copy_only=False), np.float64)
    own = [table[name].to_numpy().astype(np.float64)[:, None] for name in MEASUREMENTS]
    width = len(FEATURE_NAMES)
    # rows of older versions have fewer
    hand = np.full((len(table), width), np.nan)
    for length in np.unique(length_N):
        alike_N = length_N == length
        rows = values[np.repeat(alike_N, length_N)].reshape(int(alike_N.sum()), length)
        hand[alike_N, : min(length, width)] = rows[:, :width]
    return np.hstack([*own, hand])


def load_examples(
    pool: Pool,
    ratings: Mapping[str, int],
    config: ClassifierConfig,
    needs: frozenset[Need],
    inclusion: Mapping[str, float] | None = None,
) -> Examples:
    """Return the rated clips of a pool as arrays.

    Args:
        pool: the clips that count.
        ratings: rating by clip_id; clips that are not in the pool are left out.
        config: number of frames and size.
        needs: what the candidates read; frames are decoded only if they are among it.
        inclusion: probability with which a clip was drawn for labelling, where it is known.
    """
    columns = [*FRAME_COLUMNS, *FEATURE_COLUMNS, "flags"]
    rows = pool.scan(columns, clip_ids=ratings.keys()).to_pylist()
    groups = joined_groups(pool, [str(row["video_id"]) for row in rows])
    clip_ids = [str(row["clip_id"]) for row in rows]
    weight_N, weights = clip_weights(clip_ids, inclusion or {})
    embedding_ND, why = _embeddings(pool, clip_ids) if "embedding" in needs else (None, "")
    frames, failed = load_frames(pool.store, rows, config) if "frames" in needs else (None, {})
    examples = Examples(
        clip_ids=tuple(clip_ids),
        rating_N=np.array([ratings[row["clip_id"]] for row in rows], np.int64),
        groups=groups,
        val_N=np.array([pool.split(row["video_id"]) != "train" for row in rows], bool),
        features_NF=features_of(rows),
        flags_NF=np.array([[flag in (row["flags"] or ()) for flag in FLAGS] for row in rows], bool).reshape(
            -1, len(FLAGS)
        ),
        weight_N=weight_N,
        weights=weights,
        frames=frames,
        embedding_ND=embedding_ND,
        no_embedding=why,
        unreadable={rows[place]["clip_id"]: reason for place, reason in failed.items()},
    )
    return examples.take(~np.isin(np.arange(len(rows)), list(failed))) if failed else examples


def _embeddings(pool: Pool, clip_ids: list[str]) -> tuple[Embeddings | None, str]:
    """Return the embeddings of clips, or why there are none."""
    if not pool.config.embedding.enabled:
        return None, "embedding.enabled = false"
    try:
        found = read_embeddings(pool.store, pool.config, clip_ids)
    except UserError as exc:
        # the network's file is missing or changed: other candidates can do without
        return None, str(exc)
    return (found, "") if found.size else (None, "")


def _features(row: Mapping[str, Any]) -> list[float]:
    hand = list(row["features"] or ())[: len(FEATURE_NAMES)]
    # rows of older versions have fewer
    hand += [np.nan] * (len(FEATURE_NAMES) - len(hand))
    return [np.nan if value is None else float(value) for value in (*(row[name] for name in MEASUREMENTS), *hand)]
