"""All clips of the pool as arrays: what the decision needs to know of each, 40 bytes a clip.

Ids and texts are not held: they are read again when the rows are written, a batch at a time.

Dimension keys: P clips of the pool, by batch and by clip_id; N clips of a batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifier.decision.hard_rules import HARD_COLUMNS, Bits, FlagWords, usable_shares
from classifier.pool import Pool
from classifier.training.arrays import Bools, Floats
from pipeline.errors import UserError
from pipeline.label_events import Labels
from pipeline.storage.arrow import Column, pc, texts
from pipeline.storage.models_table import ModelRecord

Codes = npt.NDArray[np.int32]
_SCORES = ("clip_id", "model_version", "clip_sha256", "probability", "error_class")


@dataclass
class PoolState:
    """The clips of the pool, one entry each."""

    batches: Mapping[str, tuple[int, str]]
    """Of each batch, in order: its number of clips, and a hash of their ids."""
    probability_P: Floats
    """NaN where there is no score."""
    error_P: Codes
    """Index in `errors` of the reason why there is none; -1 where there is one."""
    errors: list[str]
    flags_P: Bits
    words: FlagWords
    usable_P: Floats
    length_ms_P: Codes
    rating_P: npt.NDArray[np.int8]
    """Whoever rated the clip; 0 where nobody did."""
    by_people_P: Bools
    source_P: Codes
    """Index of the channel, or video."""
    group_P: Codes
    """Index of the group of near-duplicates; -1 where there is none."""
    represents_P: Bools
    """Whether the clip represents its group."""
    group_names: Column
    """Id of the clip that represents each group."""

    def __len__(self) -> int:
        return len(self.probability_P)


def load_state(pool: Pool, model: ModelRecord | None, labels: Labels) -> PoolState:
    """Return the clips of a pool, read a batch at a time.

    Raises:
        UserError: a batch is not scored by the model (where one is given).
    """
    rated, words, errors = _Rated(labels), FlagWords(), list[str]()
    sources = {name: index for index, name in enumerate(sorted({pool.group(video_id) for video_id in pool.videos}))}
    source_of = {video_id: sources[pool.group(video_id)] for video_id in pool.videos}
    groups = _Groups(pool)
    batches, parts, unscored = dict[str, tuple[int, str]](), list[tuple[np.ndarray, ...]](), list[str]()
    columns = [*HARD_COLUMNS, "start_ms", "end_ms", "sha256"]
    scored = pool.rows_by_batch("scores", _SCORES) if model is not None else None
    for batch, clips in pool.by_batch(columns):
        batches[batch] = len(clips), ids_hash(clips["clip_id"])
        scores = _scores(scored.of(batch) if scored is not None else None, clips, model)
        if scores is None:
            unscored.append(batch)
            continue
        probability, reasons = scores
        errors += [name for name in pc.unique(reasons.drop_null()).to_pylist() if name not in errors]
        videos = clips["video_id"].combine_chunks().dictionary_encode()
        by_video = np.array([source_of[str(video_id)] for video_id in videos.dictionary.to_pylist()], np.int32)
        parts.append(
            (
                probability,
                pc.fill_null(pc.index_in(reasons, pa.array(errors, pa.string())), -1).to_numpy(False).astype(np.int32),
                words.bits(clips["flags"]),
                usable_shares(clips, pool.config.decision.shot_frames),
                pc.subtract(clips["end_ms"], clips["start_ms"]).to_numpy().astype(np.int32),
                *rated.of(clips["clip_id"]),
                by_video[videos.indices.to_numpy(False)] if len(by_video) else np.zeros(0, np.int32),
                *groups.of(batch, clips["clip_id"]),
            )
        )
    if unscored:
        assert model is not None
        shown = ", ".join(unscored[:5]) + (f" and {len(unscored) - 5} more" if len(unscored) > 5 else "")
        raise UserError(
            f"{len(unscored)} of {len(pool.batches)} batches are not scored by the published classifier "
            f"{model.model_id}: {shown}. Score them first (asset clip_scores); one model decides for all batches"
        )
    return _state(batches, errors, words, groups.names, parts)


def ids_hash(clip_ids: Column) -> str:
    """Return a hash of the ids of a batch's clips, in their order."""
    digest = hashlib.sha256()
    for chunk in clip_ids.chunks:
        digest.update("\n".join(chunk.to_pylist()).encode())
    return digest.hexdigest()


def _state(
    batches: Mapping[str, tuple[int, str]],
    errors: list[str],
    words: FlagWords,
    group_names: pa.StringArray,
    parts: list[tuple[np.ndarray, ...]],
) -> PoolState:
    kinds = (float, np.int32, np.uint64, float, np.int32, np.int8, bool, np.int32, np.int32, bool)
    found = [np.concatenate(column) for column in zip([np.zeros(0, kind) for kind in kinds], *parts, strict=True)]
    return PoolState(
        batches=batches, errors=errors, words=words, probability_P=found[0], error_P=found[1], flags_P=found[2],
        usable_P=found[3], length_ms_P=found[4], rating_P=found[5], by_people_P=found[6], source_P=found[7],
        group_P=found[8], represents_P=found[9], group_names=group_names,
    )  # fmt: skip


def _scores(rows: pa.Table | None, clips: pa.Table, model: ModelRecord | None) -> tuple[Floats, Column] | None:
    """Return probabilities and reasons of clips without one; None where the model has not scored every clip.

    Args:
        rows: of `scores`, of the batch.
        clips: of the batch.
        model: the published one; None where scores do not decide.
    """
    if model is None or rows is None:
        return np.full(len(clips), np.nan), pa.nulls(len(clips), pa.string())
    if len(rows) and not pc.all(pc.equal(rows["model_version"], model.model_id)).as_py():
        return None
    if not len(clips):
        return np.zeros(0), pa.nulls(0, pa.string())
    # rows of clips that were taken down later do no harm; those without a hash are older than the column
    place = pc.index_in(clips["clip_id"], value_set=rows["clip_id"].combine_chunks())
    if place.null_count:
        return None
    found = rows.take(place)
    same = pc.fill_null(pc.equal(found["clip_sha256"], clips["sha256"]), True)
    if not pc.all(same).as_py():
        return None
    probability = found["probability"].to_numpy().astype(float)
    reasons = pc.if_else(
        pc.is_null(found["probability"]), pc.fill_null(found["error_class"], "unknown"), pa.scalar(None, pa.string())
    )
    return probability, reasons


class _Rated:
    """Ratings by clip_id, looked up for a batch at a time."""

    def __init__(self, labels: Labels) -> None:
        self.ids = texts(list(labels.ratings))
        self.rating = np.array([0, *(labels.ratings[clip_id] for clip_id in self.ids.to_pylist())], np.int8)
        self.people = np.array([False, *(clip_id in labels.by_people for clip_id in self.ids.to_pylist())])

    def of(self, clip_ids: Column) -> Iterator[np.ndarray]:
        """Return the ratings of clips (0 for none), and whether they are a person's."""
        place = pc.fill_null(pc.index_in(clip_ids, value_set=self.ids), -1).to_numpy() + 1
        yield self.rating[place]
        yield self.people[place]


class _Groups:
    """Groups of near-duplicates with more than one clip, looked up for a batch at a time.

    Of each batch its own rows alone: to look through those of all, once for each batch, grows as clips^2.
    """

    def __init__(self, pool: Pool) -> None:
        columns = ["clip_id", "batch", "representative", "is_representative"]
        where = (pc.field("clip_spec") == pool.spec) & (pc.field("group_size") > 1)
        rows = pool.store.read("duplicates", columns, where).sort_by("batch")
        groups = rows["representative"].combine_chunks().dictionary_encode()
        self.names: Column = groups.dictionary
        self._ids = rows["clip_id"].combine_chunks()
        self._group = pc.fill_null(groups.indices, -1).to_numpy(False).astype(np.int32)
        self._represents = rows["is_representative"].to_numpy().astype(bool)
        self._rows: dict[str | None, slice] = {}
        start = 0
        for found in pc.value_counts(rows["batch"].combine_chunks()).to_pylist():
            self._rows[found["values"]] = slice(start, start + found["counts"])
            start += found["counts"]

    def of(self, batch: str, clip_ids: Column) -> Iterator[np.ndarray]:
        """Return the groups of clips of a batch (-1 for none), and whether they represent them."""
        # those of older versions name no batch
        mine = [self._rows[name] for name in (batch, None) if name in self._rows]
        ids = pa.concat_arrays([texts([]), *(self._ids[rows] for rows in mine)])
        place = pc.fill_null(pc.index_in(clip_ids, value_set=ids), -1).to_numpy()
        yield np.concatenate([*(self._group[rows] for rows in mine), np.array([-1], np.int32)])[place]
        yield np.concatenate([*(self._represents[rows] for rows in mine), np.array([False])])[place]
