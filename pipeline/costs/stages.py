"""What each stage costs per thousand hours of video, from the rows of `costs`.

A figure says what one making of the video costs, however often it was made. Four kinds of stages count differently:

- What only adds (`ADDS_UP`): a run does what no run did before, so all runs count, over the video that there is.
- A batch: its runs until it was whole, failed ones included. Where it was made again (by another classifier, under
  other settings), or a run found nothing to do, the dearest making of the most video counts, and no other.
- The whole store, by a stage that goes on where an earlier run stopped (`GOES_ON`): a run that ended well, and the
  runs that failed since the one before. Of several over the newest video, the dearest counts, and no other.
- The whole store, by any other stage: each run goes over all of it, so the last run that ended well counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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
    "study",
)  # fmt: skip
"""In the order of a pass."""
ADDS_UP = frozenset({"search_results", "raw_videos"})
"""Stages that never do anything again: a search finds other videos, and what was downloaded stays."""
GOES_ON = frozenset({"training_shards", "video_tokenizer", "world_model", "token_shards"})
"""Stages over the whole store that keep what a failed run made, and that find what was made before."""
_COLUMNS = ["stage", "batch", "state", "started_at", "seconds", "batches", "video_s", "clips", *NAMES]


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
    """Of these, those that failed."""
    hours: float
    """Hours of video, each once."""
    seconds: float
    """From begin to end, of all runs."""
    usage: Usage
    """Of the runs that count: what that video takes once."""
    all_runs: Usage = dataclasses.field(default_factory=Usage)
    """Of all runs: what was paid."""

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
    rows = [("CPU-h", "GPU-h", "read", "written", "loaded", "requests"), *(_cells(cost) for cost in costs)]
    widths = [max(map(len, column)) + 2 for column in zip(*filter(None, rows), strict=True)]
    told = ["from (bytes in GB)", *map(_from, costs)]
    names = ["per 1,000 h of video", *(cost.stage for cost in costs)]
    return [
        f"{name:<20}{''.join(f'{cell:>{width}}' for cell, width in zip(cells, widths, strict=False))}  {of}"
        for name, cells, of in zip(names, rows, told, strict=True)
    ]


def total_per_thousand_hours(costs: Iterable[StageCost], name: str) -> float:
    """Return a quantity per thousand hours of video, of all stages that are not too few to tell."""
    return sum(cost.per_thousand_hours(name) or 0.0 for cost in costs)


def _cells(cost: StageCost) -> tuple[str, ...]:
    """Return the figures of a stage; () where they are too few."""
    if cost.too_few:
        return ()
    units = {"cpu_s": 3600, "gpu_s": 3600, "bytes_read": 1e9, "bytes_written": 1e9, "bytes_downloaded": 1e9}
    figures = (figure_text((cost.per_thousand_hours(name) or 0.0) / unit) for name, unit in units.items())
    return (*figures, f"{cost.per_thousand_hours('requests') or 0.0:,.0f}")


def _from(cost: StageCost) -> str:
    of = f"{cost.batches:,} batch{'' if cost.batches == 1 else 'es'}, {cost.hours:,.1f} h"
    if cost.failed:
        of += f", {cost.failed} of {cost.runs} runs failed"
    return f"too few to tell ({of}; {FEW_BATCHES} batches and {FEW_HOURS:g} h are needed)" if cost.too_few else of


def figure_text(value: float) -> str:
    """Return a figure with as many digits as are worth reading."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _cost(stage: str, rows: pa.Table) -> StageCost:
    per_batch = rows["batch"].null_count < len(rows)
    rows = rows.sort_by("started_at")
    counted = rows.take(pa.array(_that_count(rows, stage, per_batch), pa.int64()))
    # what failed is paid for, and has brought no video to its end
    done = rows_with(counted, "state", "ok")
    if per_batch:
        # a batch that was worked on several times is the same video
        each = done.group_by("batch").aggregate([("video_s", "max")])
        batches, video_s = len(each), pc.sum(each["video_s_max"]).as_py()
    else:
        batches, video_s = pc.max(done["batches"]).as_py(), pc.max(done["video_s"]).as_py()
    return StageCost(
        stage=stage,
        per_batch=per_batch,
        batches=int(batches or 0),
        runs=len(rows),
        failed=len(rows_with(rows, "state", "failed")),
        hours=float(video_s or 0.0) / 3600,
        seconds=float(pc.sum(rows["seconds"]).as_py() or 0.0),
        usage=_sum(counted),
        all_runs=_sum(rows),
    )


def _sum(rows: pa.Table) -> Usage:
    return Usage(**{name: pc.sum(rows[name]).as_py() or 0 for name in NAMES})


class _Making(NamedTuple):
    """Runs that made the same video once, from the first to the one that made it whole."""

    rows: tuple[int, ...]
    cpu_s: float
    video_s: float
    """Of the most that a run ended with; -1 where none ended well."""


def _that_count(rows: pa.Table, stage: str, per_batch: bool) -> list[int]:
    """Return the places of the runs that count, of runs in the order of their begin; see the module."""
    runs = rows.select(["batch", "state", "video_s", "cpu_s"]).to_pylist()
    if stage in ADDS_UP:
        return list(range(len(runs)))
    if not per_batch and stage not in GOES_ON:
        return [place for place, run in enumerate(runs) if run["state"] == "ok"][-1:]
    by_batch: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for place, run in enumerate(runs):
        by_batch.setdefault(run["batch"] or "", []).append((place, run))
    counted: list[int] = []
    for of_batch in by_batch.values():
        makings = _makings(of_batch, joins=per_batch)
        if not per_batch:
            makings = [one for one in makings if one.video_s == makings[-1].video_s]
        counted += max(makings, key=lambda one: (one.video_s, one.cpu_s)).rows
    return counted


def _makings(runs: Iterable[tuple[int, Mapping[str, Any]]], *, joins: bool) -> list[_Making]:
    """Return the makings of one batch, or of the whole store; runs that failed since the last one belong to none.

    Args:
        runs: at least one, each with its place.
        joins: whether a run that ends with more video goes on with what was there, and is part of the same making.
    """
    makings: list[_Making] = []
    pending = _Making((), 0.0, -1.0)
    for place, run in runs:
        pending = pending._replace(rows=(*pending.rows, place), cpu_s=pending.cpu_s + run["cpu_s"])
        if run["state"] != "ok":
            continue
        if joins and makings and run["video_s"] > makings[-1].video_s:
            last = makings.pop()
            pending = pending._replace(rows=last.rows + pending.rows, cpu_s=last.cpu_s + pending.cpu_s)
        makings.append(pending._replace(video_s=run["video_s"]))
        pending = _Making((), 0.0, -1.0)
    # what failed is paid for, also where nothing ever ended well
    return makings or [pending]
