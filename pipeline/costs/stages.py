"""What each stage costs per thousand hours of video, from the rows of `costs`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.storage.arrow import pc, rows_with, unique
from pipeline.storage.store import Store
from pipeline.usage import NAMES, Usage

FEW_BATCHES = 3
"""Figures of fewer batches than this are too few to tell: the next batch may cost twice as much."""
FEW_HOURS = 0.1
"""The same of so few hours of video: what a process costs to start would count as if it were of the video."""
STAGES = (
    "search_results", "raw_videos", "clips", "clip_embeddings", "near_duplicates", "label_queue", "quality_labels",
    "quality_classifier", "clip_scores", "curated_clips", "training_shards", "curation_audit", "video_tokenizer",
    "world_model", "token_shards", "world_evaluation", "playable_world", "curation_ablation",
)  # fmt: skip
"""In the order of a pass."""
_COLUMNS = ["stage", "batch", "state", "seconds", "batches", "video_s", "clips", *NAMES]


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """What one stage has cost so far."""

    stage: str
    per_batch: bool
    """Whether it works on one batch at a time, or on the whole store."""
    batches: int
    """Batches that the figures are from."""
    runs: int
    """Rows of `costs`."""
    failed: int
    """Of these, those that failed; what they used is counted."""
    hours: float
    """Hours of video; of a stage over the whole store, added up over its runs."""
    seconds: float
    """From begin to end, of all runs."""
    usage: Usage
    """Of all runs."""

    @property
    def too_few(self) -> bool:
        """Whether there are too few batches, or hours of video, to tell what others will cost."""
        return self.batches < FEW_BATCHES or self.hours < FEW_HOURS

    def per_thousand_hours(self, name: str) -> float | None:
        """Return a quantity of `pipeline.usage.Usage` per thousand hours of video; None where they are too few."""
        return None if self.too_few else 1000 * float(getattr(self.usage, name)) / self.hours

    def to_json(self) -> dict[str, Any]:
        """Return what `lampworks status --json` prints of it."""
        per_thousand = {name: self.per_thousand_hours(name) for name in NAMES}
        return {**dataclasses.asdict(self), "too_few": self.too_few, "per_thousand_hours": per_thousand}


def stage_costs(store: Store) -> list[StageCost]:
    """Return the cost of every stage that was booked, in the order of a pass."""
    rows = store.read("costs", _COLUMNS)
    names = unique(rows["stage"])
    ordered = [*(name for name in STAGES if name in names), *(name for name in names if name not in STAGES)]
    return [_cost(name, rows_with(rows, "stage", name)) for name in ordered]


def cost_lines(costs: Sequence[StageCost]) -> list[str]:
    """Return the costs as a table for a terminal: a line for the heading and one a stage; [] where none is booked."""
    if not costs:
        return []
    heads = "".join(f"{head:>8}" for head in ("CPU-h", "GPU-h", "read", "written", "loaded"))
    return [f"{'per 1,000 h of video':<20}{heads}{'requests':>9}  from (bytes in GB)", *map(_line, costs)]


def total_per_thousand_hours(costs: Iterable[StageCost], name: str) -> float:
    """Return a quantity per thousand hours of video, of all stages that are not too few to tell."""
    return sum(cost.per_thousand_hours(name) or 0.0 for cost in costs)


def _line(cost: StageCost) -> str:
    of = f"{cost.batches:,} batch{'' if cost.batches == 1 else 'es'}, {cost.hours:,.1f} h"
    if cost.failed:
        of += f", {cost.failed} of {cost.runs} runs failed"
    if cost.too_few:
        return f"{cost.stage:<20}  too few to tell ({of}; {FEW_BATCHES} batches and {FEW_HOURS:g} h are needed)"
    units = {"cpu_s": 3600, "gpu_s": 3600, "bytes_read": 1e9, "bytes_written": 1e9, "bytes_downloaded": 1e9}
    values = "".join(f"{figure_text((cost.per_thousand_hours(name) or 0.0) / unit):>8}" for name, unit in units.items())
    return f"{cost.stage:<20}{values}{cost.per_thousand_hours('requests') or 0.0:9,.0f}  {of}"


def figure_text(value: float) -> str:
    """Return a figure with as many digits as are worth reading."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _cost(stage: str, rows: pa.Table) -> StageCost:
    per_batch = rows["batch"].null_count < len(rows)
    # what failed is paid for, and has brought no video to its end
    done = rows_with(rows, "state", "ok")
    if per_batch:
        # a batch that was worked on several times is the same video
        each = done.group_by("batch").aggregate([("video_s", "max")])
        batches, video_s = len(each), pc.sum(each["video_s_max"]).as_py()
    else:
        batches, video_s = pc.max(done["batches"]).as_py(), pc.sum(done["video_s"]).as_py()
    sums = {name: pc.sum(rows[name]).as_py() or 0 for name in NAMES}
    return StageCost(
        stage=stage,
        per_batch=per_batch,
        batches=int(batches or 0),
        runs=len(rows),
        failed=len(rows_with(rows, "state", "failed")),
        hours=float(video_s or 0.0) / 3600,
        seconds=float(pc.sum(rows["seconds"]).as_py() or 0.0),
        usage=Usage(**sums),
    )
