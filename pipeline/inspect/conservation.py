"""Check that all totals of a status balance: nothing that came in is unaccounted for, at any stage.

The two sides of each total are counted from different places (a search's own count and the rows of `videos`, attempts
and videos, the clips that a cut announced and the rows of `clips`, a manifest and the rows of `shards`), so a row that
is lost anywhere gives a sentence here. Nothing is read but the status, whose values `lampworks status --json` prints.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.inspect.status_types import StoreStatus
from pipeline.shards.splits import SPLITS

_TOLERANCE_S = 0.01


def violations(status: StoreStatus) -> list[str]:
    """Return one sentence for each total that does not balance; an empty list means that all do."""
    videos, downloads, clips = status.videos, status.downloads, status.clips
    labels, curated, shards = status.labels, status.curated, status.shards
    found: list[str] = []

    def equal(whole: str, total: float, parts: Mapping[str, float], tolerance: float = 0.0) -> None:
        if abs(total - sum(parts.values())) > tolerance:
            listed = " + ".join(f"{value:g} {name}" for name, value in parts.items())
            found.append(f"{whole}: {total:g} is not {listed}")

    rejected = sum(videos.rejected.values())
    parts = {"kept": videos.kept, "rejected": rejected} | ({"removed": videos.removed} if videos.removed else {})
    equal("videos found by the searches", videos.found, parts)
    equal(
        "videos kept",
        videos.kept,
        {
            "downloaded": downloads.ok,
            "failed": sum(downloads.failed.values()),
            "rejected at the download": sum(downloads.rejected.values()),
            "pending": downloads.pending,
            "taken down": downloads.taken_down,
        },
    )
    equal(
        "videos downloaded",
        downloads.ok,
        {
            "cut": clips.videos_cut,
            "failed to cut": sum(clips.failed.values()),
            "not yet cut": clips.videos_pending,
        },
    )
    equal("clips that the cuts announced", clips.announced, {"rows of clips": clips.total})
    equal(
        "seconds of the videos that were cut",
        clips.source_seconds,
        {
            "in clips": clips.clip_seconds,
            "remainder": clips.remainder_seconds,
            "lost": sum(clips.lost_seconds.values()),
        },
        _TOLERANCE_S,
    )
    for video in clips.disagreeing:
        found.append(f"seconds of video {video}: its packets hold another time than its clips, remainder and losses")
    if clips.grouped is not None:
        equal("clips", clips.total, {"with a duplicate group": clips.grouped})
    equal("labelled clips", labels.total, {f"rated {k}": v for k, v in labels.by_rating.items()})
    decided = {"keep": curated.keep, "drop": curated.drop, "review": curated.review}
    equal("clips", clips.total, {**decided, "undecided": curated.undecided})
    if curated.current and curated.undecided:
        found.append(f"decision: made over all clips, yet {curated.undecided} of them have none")
    samples = {split: shards.of(split).samples for split in SPLITS}
    if shards.announced is not None:
        for split, count in samples.items():
            equal(f"{split} samples of the manifest", shards.announced[split], {"in shards": count})
    if shards.current:
        equal("clips kept", curated.keep, {f"in {split} shards": count for split, count in samples.items()})
    tokens = status.tokens
    if tokens.current and shards.current:
        parts = {"with tokens": tokens.clips, "without": tokens.left_out}
        equal("clips in shards", sum(samples.values()), parts)
    for missing in status.models.dangling:
        found.append(f"models: {missing} is referred to by a later row and has no row itself")
    for table, rows in status.deleted_rows.items():
        found.append(f"table {table}: {rows} rows were deleted by something other than lampworks")
    return found
