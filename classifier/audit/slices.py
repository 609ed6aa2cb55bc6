"""Keep rate, and precision where it was audited, by channel, resolution, year of upload and flag.

A slice of twenty clips or more of which all are kept, or none, is pointed out: there the classifier may judge a
channel's look or an encoder, and not the play.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypedDict

from classifier.audit.estimate import FEW_CLIPS
from classifier.pool import Pool
from pipeline.storage.arrow import pc

Dimension = Literal["channel", "resolution", "year", "flag"]
DIMENSIONS: tuple[Dimension, ...] = ("channel", "resolution", "year", "flag")
MOST_SHOWN = 20
"""Slices of a dimension that are listed, those with the most clips; of those that are pointed out, as many again."""
UNKNOWN, NO_FLAG = "unknown", "none"


class Slice(TypedDict):
    """Clips that have something in common."""

    name: str
    clips: int
    kept: int
    keep_rate: float
    rated: int
    """Kept clips that were rated in the audit."""
    good: int
    """Those of them that are good."""


class Slices(TypedDict):
    """The slices of one dimension."""

    count: int
    largest: list[Slice]
    extremes: list[Slice]
    """Slices of which all clips are kept, or none, the largest first."""
    num_extremes: int


@dataclass(frozen=True)
class _Video:
    channel: str
    resolution: str
    year: str


class _Counts:
    def __init__(self) -> None:
        self.clips = self.kept = self.rated = self.good = 0

    def add(self, kept: bool, good: bool | None) -> None:
        self.clips += 1
        self.kept += kept
        self.rated += good is not None
        self.good += bool(good)

    def slice(self, name: str) -> Slice:
        return Slice(
            name=name, clips=self.clips, kept=self.kept, keep_rate=self.kept / self.clips, rated=self.rated,
            good=self.good,
        )  # fmt: skip


def slices(pool: Pool, audited: Mapping[str, bool]) -> dict[Dimension, Slices]:
    """Return the slices of the present decision, by dimension; a batch of clips is in memory at a time.

    Args:
        pool: the clips that count.
        audited: whether a clip is good, of the kept clips that were rated in the audit.
    """
    found: dict[Dimension, dict[str, _Counts]] = {dimension: defaultdict(_Counts) for dimension in DIMENSIONS}
    videos = _videos(pool)
    for clip_id, video_id, flags, kept in _clips(pool):
        of, good = videos[video_id], audited.get(clip_id) if kept else None
        for dimension, names in (
            ("channel", [of.channel]), ("resolution", [of.resolution]), ("year", [of.year]),
            ("flag", flags or [NO_FLAG]),
        ):  # fmt: skip
            for name in names:
                found[dimension][name].add(kept, good)  # type: ignore[index]
    # that nothing with a flag is kept which drops is the rule, and no finding
    by_rule = {"flag": set(pool.config.decision.drop_flags)}
    return {dimension: _listed(of, by_rule.get(dimension, ())) for dimension, of in found.items()}


def _listed(found: Mapping[str, _Counts], by_rule: Collection[str]) -> Slices:
    rows = sorted((counts.slice(name) for name, counts in found.items()), key=lambda row: (-row["clips"], row["name"]))
    extremes = [
        row for row in rows if row["clips"] >= FEW_CLIPS and row["keep_rate"] in (0, 1) and row["name"] not in by_rule
    ]
    return Slices(
        count=len(rows), largest=rows[:MOST_SHOWN], extremes=extremes[:MOST_SHOWN], num_extremes=len(extremes)
    )


def _clips(pool: Pool) -> Iterator[tuple[str, str, list[str], bool]]:
    """Yield clip_id, video_id, flags and whether it is kept, of the clips that were decided on."""
    rows = pool.rows_by_batch("curated", ["clip_id", "decision"])
    for batch, clips in pool.by_batch(["flags"]):
        decided = rows.of(batch)
        kept = dict(zip(decided["clip_id"].to_pylist(), decided["decision"].to_pylist(), strict=True))
        for row in clips.to_pylist():
            if row["clip_id"] in kept:
                yield row["clip_id"], row["video_id"], row["flags"] or [], kept[row["clip_id"]] == "keep"


def _videos(pool: Pool) -> dict[str, _Video]:
    """Return what the videos of the pool have in common with others."""
    years: dict[str, str] = {}
    for part in pool.store.scan("videos", ["video_id", "upload_date"]):
        for row in part.to_pylist():
            years[row["video_id"]] = (row["upload_date"] or "")[:4]
    heights: dict[str, int] = {}
    for part in pool.store.scan("downloads", ["video_id", "height"], pc.field("state") == "ok"):
        heights.update({row["video_id"]: row["height"] for row in part.to_pylist() if row["height"]})
    return {
        name: _Video(
            channel=pool.group(name),
            resolution=f"{heights[name]}p" if name in heights else UNKNOWN,
            year=years.get(name) or UNKNOWN,
        )
        for name in pool.videos
    }
