"""The rows of `curated`: every clip's decision with its reason in words, a batch at a time.

Dimension keys: P clips of the pool, N clips of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifier.decision.hard_rules import Bits
from classifier.decision.pool_state import PoolState, ids_hash
from classifier.decision.rule import HardRules, Outcome, kept_by
from classifier.pool import Pool
from classifier.training.arrays import Floats
from pipeline.config import DecisionConfig
from pipeline.storage.arrow import pc
from pipeline.storage.rows import rows_table

Texts = npt.NDArray[np.object_]
_KINDS = {
    Outcome.DUPLICATE: "duplicate", Outcome.USABLE: "usable share", Outcome.NO_SCORE: "no score",
    Outcome.SCORE_KEEP: "score", Outcome.SCORE_BETWEEN: "score between", Outcome.SCORE_DROP: "score",
    Outcome.NO_FLAGS: "flags only, none", Outcome.CHANNEL_CAP: "channel cap",
}  # fmt: skip


class ClipsChangedError(Exception):
    """The clips are not those that were read before: the decision begins again."""


@dataclass(frozen=True)
class Verdicts:
    """What was decided on every clip of the pool."""

    state: PoolState
    config: DecisionConfig
    hard: HardRules
    outcome_P: npt.NDArray[np.int8]
    percentile_P: Floats
    keep_from: float
    drop_below: float
    rule_version: str
    model_version: str

    def decisions(self) -> Texts:
        """Return keep, drop or review of every clip (P,)."""
        found = np.full(len(self.state), "drop", object)
        between = np.isin(self.outcome_P, [Outcome.SCORE_BETWEEN, Outcome.OTHER_FLAGS])
        found[between] = self.config.middle
        found[kept_by(self.outcome_P, self.config)] = "keep"
        return found


def curated_rows(pool: Pool, verdicts: Verdicts) -> Iterator[pa.Table]:
    """Yield the rows of each batch, in the order of clip_id.

    Raises:
        ClipsChangedError: a batch has other clips than when it was decided.
    """
    splits = {video_id: pool.split(video_id) for video_id in pool.videos}
    names = _stand_ins(pool, verdicts)
    start = 0
    decisions = verdicts.decisions()
    for batch, clips in pool.by_batch([]):
        size, known = verdicts.state.batches.get(batch, (0, ""))
        if ids_hash(clips["clip_id"]) != known:
            raise ClipsChangedError(f"batch {batch} was cut again while it was decided")
        rows = np.arange(start, start + size)
        start += size
        videos = clips["video_id"].combine_chunks().dictionary_encode()
        split = pa.array([splits[str(video_id)] for video_id in videos.dictionary.to_pylist()], pa.string())
        state, probability = verdicts.state, verdicts.state.probability_P[rows]
        reasons, kinds = reasons_of(verdicts, rows, names)
        columns: dict[str, Any] = {
            "clip_id": clips["clip_id"],
            "video_id": clips["video_id"],
            "batch": pa.array([batch] * size, pa.string()),
            "decision": pa.array(decisions[rows], pa.string()),
            "reason": pa.array(reasons, pa.string()),
            "kind": pa.array(kinds, pa.string()),
            "probability": pa.array(probability, from_pandas=True),
            "percentile": pa.array(verdicts.percentile_P[rows], from_pandas=True),
            "rating": pa.array(state.rating_P[rows].astype(np.int64), mask=state.rating_P[rows] == 0),
            "split": split.take(videos.indices),
            "rule_version": pa.array([verdicts.rule_version] * size, pa.string()),
            "model_version": pa.array([verdicts.model_version] * size, pa.string()),
        }
        yield rows_table("curated", pa.table(columns))


def reasons_of(verdicts: Verdicts, rows: npt.NDArray[np.int64], names: Mapping[int, str]) -> tuple[Texts, Texts]:
    """Return the reason and the kind of clips (N,).

    Args:
        verdicts: what was decided.
        rows: indices of the clips.
        names: ids of the clips that stand for groups of near-duplicates, by index.
    """
    state, outcome = verdicts.state, verdicts.outcome_P[rows]
    reasons, kinds = np.full(len(rows), "", object), np.full(len(rows), "", object)
    for value in np.unique(outcome).tolist():
        here = np.flatnonzero(outcome == value)
        mine = rows[here]
        kinds[here] = _KINDS.get(Outcome(value), "")
        match Outcome(value):
            case Outcome.RATED_BAD | Outcome.RATED_GOOD:
                kinds[here] = reasons[here] = [f"rated {rating}" for rating in state.rating_P[mine].tolist()]
            case Outcome.DUPLICATE:
                reasons[here] = [f"duplicate of {names[index]}" for index in verdicts.hard.stands_for_P[mine].tolist()]
            case Outcome.FLAG:
                _flag_texts(verdicts, verdicts.hard.dropping_P, mine, here, reasons, kinds)
            case Outcome.OTHER_FLAGS:
                _flag_texts(verdicts, state.flags_P, mine, here, reasons, kinds)
            case Outcome.USABLE:
                least = verdicts.config.min_usable_share
                shown = _digits(state.usable_P[mine])
                reasons[here] = [f"usable share {share} < {least:.3f}: scene cuts" for share in shown]
            case Outcome.NO_SCORE:
                reasons[here] = [f"no score: {_error(state, index)}" for index in mine.tolist()]
            case Outcome.NO_FLAGS:
                reasons[here] = "flags only: none"
            case Outcome.CHANNEL_CAP:
                most = verdicts.config.max_per_channel
                reasons[here] = f"channel cap: {most} better clips of its channel are kept"
            case _:
                reasons[here] = _score_texts(verdicts, Outcome(value), mine)
    return reasons, kinds


def _score_texts(verdicts: Verdicts, outcome: Outcome, rows: npt.NDArray[np.int64]) -> list[str]:
    keep_from, drop_below = _digits(np.array([verdicts.keep_from, verdicts.drop_below]))
    text = {
        Outcome.SCORE_KEEP: f" >= {keep_from}",
        Outcome.SCORE_DROP: f" < {drop_below}",
        Outcome.SCORE_BETWEEN: f" between {drop_below} and {keep_from}",
    }[outcome]
    return [f"score {shown}{text}" for shown in _digits(verdicts.state.probability_P[rows])]


def _flag_texts(
    verdicts: Verdicts, flags_P: Bits, rows: npt.NDArray[np.int64], here: npt.NDArray[np.int64], reasons: Texts,
    kinds: Texts,
) -> None:  # fmt: skip
    only = verdicts.config.mode == "flags"
    by_bits = verdicts.state.words.texts(flags_P[rows])
    names = [by_bits[bits] for bits in flags_P[rows].tolist()]
    reasons[here] = [f"{'flags only' if only else 'flag'}: {', '.join(flags)}" for flags in names]
    kinds[here] = [f"flags only, {flags[0]}" if only else f"flag {flags[0]}" for flags in names]


def _error(state: PoolState, index: int) -> str:
    code = int(state.error_P[index])
    return state.errors[code] if code >= 0 else "unknown"


def _digits(values: Floats) -> list[str]:
    # rounded down, so that 0.7996 is not shown as 0.800, which a threshold of 0.800 would keep
    return [f"{thousandths / 1000:.3f}" for thousandths in (values * 1e3 + 1e-9).astype(int).tolist()]


def _stand_ins(pool: Pool, verdicts: Verdicts) -> dict[int, str]:
    """Return the ids of the clips that stand for groups of near-duplicates, by index."""
    state = verdicts.state
    wanted = np.unique(verdicts.hard.stands_for_P[verdicts.hard.copy_P])
    usual = wanted[state.represents_P[wanted]]
    names: list[str] = pc.take(state.group_names, pa.array(state.group_P[usual])).to_pylist()
    found = dict(zip(usual.tolist(), names, strict=True))
    # those that took over from a representative are few
    others = wanted[~state.represents_P[wanted]]
    start = 0
    for batch, (size, _) in state.batches.items():
        here = others[(others >= start) & (others < start + size)]
        if len(here):
            names = pc.take(pool.scan([], batch)["clip_id"], pa.array(here - start)).to_pylist()
            found.update(zip(here.tolist(), names, strict=True))
        start += size
    return found
