"""What changed since the decision before: clips that entered the set or left it, why, and how far the scores moved.

Shapes: N clips.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
from scipy.stats import rankdata

from classifier.audit.drift import Distance, distance, psi_by_chance
from classifier.audit.estimate import FEW_CLIPS, FEW_SOURCES
from classifier.audit.measurements import MeasurementDistance, measurement_distances
from classifier.audit.pairs import PairedDecisions, pair_decisions
from classifier.decision.before import without_other_clips
from classifier.pool import Pool
from classifier.training.arrays import Floats
from pipeline.storage.arrow import pc, total
from pipeline.storage.rows import rows_table

MOST_VALUES = 20_000
"""Clips of each decision, evenly over their ids, whose probabilities and measurements are compared."""
NEW, GONE = "new clip", "gone"
"""In place of a reason, where the clip is not in one of the decisions."""


class Move(TypedDict):
    """Clips that entered or left for one pair of reasons."""

    change: str
    """`entered` or `left`."""
    before: str
    now: str
    clips: int


class ModelAgreement(TypedDict):
    """How the models of both decisions rank the clips that are rated."""

    rank_correlation: float | None
    """Of Spearman; None where a model gives all of them one probability."""
    clips: int
    sources: int
    few: bool


class Changes(TypedDict):
    """The present decision against the one before."""

    before: str
    """Hash of the decision before."""
    model_before: str
    model: str
    rule_before: str
    rule: str
    clips_before: int
    clips: int
    kept_before: int
    kept: int
    entered: int
    left: int
    new: int
    """Clips that were not in the decision before."""
    gone: int
    """Clips that are not in the present one."""
    flipped: int
    """Clips of both decisions with another verdict."""
    churn: float | None
    """Their share of the clips of both."""
    why: list[Move]
    """Most clips first."""
    probabilities: Distance | None
    psi_by_chance: float
    """What the PSI would be, on average, if nothing had moved."""
    measurements: list[MeasurementDistance]
    """Largest PSI first; empty where both decisions are on the same clips."""
    models_agree: ModelAgreement | None
    """None where one model decided both times, or none did."""


class _Tally:
    """Counts over the parts of two decisions."""

    def __init__(self, pairs: PairedDecisions) -> None:
        # every so many-th clip: they come in the order of their ids, so the sample is spread over all videos
        self._step = {"": -(-pairs.clips // MOST_VALUES) or 1, "_before": -(-pairs.clips_before // MOST_VALUES) or 1}
        self._seen = {"": 0, "_before": 0}
        self.sampled: dict[str, list[str]] = {"": [], "_before": []}
        self.probabilities: dict[str, list[Floats]] = {"": [], "_before": []}
        self.why: Counter[tuple[str, str, str]] = Counter()
        self.counts: Counter[str] = Counter()
        self.rated: list[pa.Table] = []
        self.moved: list[pa.Table] = [rows_table("curation_changes", [])]

    def add(self, part: pa.Table) -> None:
        kept, kept_before = (pc.fill_null(pc.equal(part[f"decision{end}"], "keep"), False) for end in ("", "_before"))
        there, there_before = pc.is_valid(part["decision"]), pc.is_valid(part["decision_before"])
        flipped = pc.fill_null(pc.not_equal(part["decision"], part["decision_before"]), False)
        self.counts.update(
            kept=total(kept), kept_before=total(kept_before), new=total(pc.invert(there_before)),
            gone=total(pc.invert(there)), flipped=total(flipped), both=total(pc.and_(there, there_before)),
        )  # fmt: skip
        change = pc.if_else(pc.and_(kept, pc.invert(kept_before)), "entered", "left")
        moved = part.append_column("change", change).filter(pc.not_equal(kept, kept_before))
        self.moved.append(rows_table("curation_changes", without_other_clips(moved)))
        self.why.update(
            (row["change"], _why(row, "_before") or NEW, _why(row, "") or GONE) for row in moved.to_pylist()
        )
        scored = pc.and_(pc.is_valid(part["probability"]), pc.is_valid(part["probability_before"]))
        columns = ["video_id", "probability", "probability_before"]
        self.rated.append(part.filter(pc.and_(scored, pc.is_valid(part["rating"]))).select(columns))
        self._sample(part.filter(there), "")
        self._sample(part.filter(there_before), "_before")

    def _sample(self, part: pa.Table, end: str) -> None:
        chosen = slice(-self._seen[end] % self._step[end], None, self._step[end])
        self._seen[end] += len(part)
        self.sampled[end] += map(str, part["clip_id"].to_pylist()[chosen])
        self.probabilities[end].append(_floats(part, f"probability{end}")[chosen])


def changes_since(pool: Pool, part_rows: int | None = None) -> tuple[Changes, pa.Table] | None:
    """Compare the present decision with the one before; None where there is none before.

    Args:
        pool: the clips that count.
        part_rows: clips in memory at a time, about; None: as many as are usual.

    Returns:
        What changed, and the rows of `curation_changes`, sorted.
    """
    store = pool.store
    recorded, recorded_before = store.inputs("curated"), store.inputs("decided_before")
    if not recorded_before:
        return None
    pairs = pair_decisions(store, part_rows) if part_rows else pair_decisions(store)
    tally = _Tally(pairs)
    for part in pairs.parts():
        tally.add(part)
    moves = Counter(change for change, _, _ in tally.why.elements())
    probabilities = {end: np.concatenate([np.zeros(0), *found]) for end, found in tally.probabilities.items()}
    scored = [found[~np.isnan(found)] for found in (probabilities["_before"], probabilities[""])]
    versions = recorded.get("decided_from", {})
    same_model = recorded_before["model_version"] == versions.get("model_version")
    same_clips = not tally.counts["new"] and not tally.counts["gone"]
    rows = pa.concat_tables(tally.moved).sort_by("clip_id")
    changes = Changes(
        before=recorded_before["content"],
        model_before=recorded_before["model_version"],
        model=versions.get("model_version", ""),
        rule_before=recorded_before["rule_version"],
        rule=versions.get("rule_version", ""),
        clips_before=pairs.clips_before,
        clips=pairs.clips,
        kept_before=tally.counts["kept_before"],
        kept=tally.counts["kept"],
        entered=moves["entered"],
        left=moves["left"],
        new=tally.counts["new"],
        gone=tally.counts["gone"],
        flipped=tally.counts["flipped"],
        churn=tally.counts["flipped"] / tally.counts["both"] if tally.counts["both"] else None,
        why=[
            Move(change=change, before=before, now=now, clips=clips)
            for (change, before, now), clips in sorted(tally.why.items(), key=lambda item: (-item[1], item[0]))
        ],
        probabilities=distance(*scored),
        psi_by_chance=psi_by_chance(*(min(clips, MOST_VALUES) for clips in (pairs.clips_before, pairs.clips))),
        measurements=[] if same_clips else measurement_distances(pool, tally.sampled["_before"], tally.sampled[""]),
        models_agree=None if same_model else _agreement(pool, pa.concat_tables(tally.rated)),
    )
    return changes, rows


def _why(row: Mapping[str, Any], end: str) -> str:
    """Return decision and kind of reason, such as `drop: score`; nothing where the clip has no decision."""
    decision = row[f"decision{end}"]
    return f"{decision}: {row[f'kind{end}']}" if decision else ""


def _agreement(pool: Pool, rated: pa.Table) -> ModelAgreement | None:
    if not len(rated):
        return None
    before, now = rankdata(_floats(rated, "probability_before")), rankdata(_floats(rated, "probability"))
    sources = len(
        {pool.group(name) if name in pool.videos else name for name in map(str, rated["video_id"].to_pylist())}
    )
    known = before.std() > 0 and now.std() > 0
    return ModelAgreement(
        rank_correlation=float(np.corrcoef(before, now)[0, 1]) if known else None,
        clips=len(rated),
        sources=sources,
        few=len(rated) < FEW_CLIPS or sources < FEW_SOURCES,
    )


def _floats(table: pa.Table, name: str) -> Floats:
    """Return a column of numbers, NaN where one is null."""
    return pc.fill_null(table[name], np.nan).to_numpy().astype(float)
