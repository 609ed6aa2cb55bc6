"""What a batch holds after its videos were cut, and which of its videos are still due."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pipeline.clip_spec import clip_spec
from pipeline.clips.flags import FLAGS
from pipeline.clips.read import read_clips
from pipeline.config import Config
from pipeline.download.due import ended_by_no_other_limit, with_detector, with_measurements
from pipeline.download.ledger import State, download_states
from pipeline.footage.losses import lost_ms_by_reason
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down


@dataclass(frozen=True)
class ClipReport:
    """A batch under the current clip_spec: all of it, not only what one run added."""

    batch: str
    clip_spec: str
    ok: int
    """Videos cut (those shorter than a clip included)."""
    failed: dict[str, int]
    """Videos that cannot be cut, by error class."""
    pending: int
    """Videos downloaded and not cut."""
    taken_down: int
    """Videos cut before they were taken down: they count nowhere else."""
    num_clips: int
    flags: dict[str, int]
    """Clips that carry each flag."""
    source_ms: int
    clip_ms: int
    remainder_ms: int
    lost_ms: dict[str, int]
    """Milliseconds that cannot be cut, by reason."""
    tar_bytes: int
    new: int = 0
    """Videos that this run added, failed ones included."""


def due_for_cutting(store: Store, config: Config, batch: str, *, retry_failed: bool = False) -> list[State]:
    """Return the downloaded videos of a batch that were not cut under the current clip_spec, in order of their ids.

    Those whose scene cuts another detector found than `clips.cut_detector` are due too, and those whose clips lack
    measurements that are made now.
    A video that failed is due with `retry_failed`, when it was downloaded again, or when the limit of the engine at
    which it was ended is another now. A video whose raw file was dropped is not due: it is downloaded again first.
    """
    where = (pc.field("batch") == batch) & (pc.field("clip_spec") == clip_spec(config.clips))
    where &= ended_by_no_other_limit(config) & with_detector(config.clips.cut_detector) & with_measurements()
    done = {
        (row["video_id"], row["source_sha256"])
        for row in store.read("clippings", ["video_id", "source_sha256", "state"], where).to_pylist()
        if row["state"] == "ok" or not retry_failed
    }
    return [
        state
        for video_id, state in sorted(download_states(store, batch).items())
        if state.path is not None and (video_id, state.sha256) not in done
    ]


def clip_report(store: Store, config: Config, batch: str, *, new: int = 0) -> ClipReport:
    """Return what a batch holds under the current clip_spec, read from its rows; `new` is what this run added."""
    spec = clip_spec(config.clips)
    where = (pc.field("batch") == batch) & (pc.field("clip_spec") == spec)
    hidden = taken_down(store).hidden_videos(store)
    all_cuts = store.read("clippings", where=where).to_pylist()
    cuts = [row for row in all_cuts if row["video_id"] not in hidden]
    good = [row for row in cuts if row["state"] == "ok"]
    failed = {row["video_id"] for row in cuts if row["state"] != "ok"}
    flags = Counter(
        flag for row in read_clips(store, config, ["flags"], batch=batch).to_pylist() for flag in row["flags"]
    )
    return ClipReport(
        batch=batch,
        clip_spec=spec,
        ok=len(good),
        failed=dict(sorted(Counter(row["error_class"] for row in cuts if row["state"] != "ok").items())),
        pending=len([state for state in due_for_cutting(store, config, batch) if state.video_id not in failed]),
        taken_down=len(all_cuts) - len(cuts),
        num_clips=sum(row["num_clips"] for row in good),
        flags={flag: flags[flag] for flag in FLAGS},
        source_ms=sum(row["source_ms"] for row in good),
        clip_ms=sum(row["clip_ms"] for row in good),
        remainder_ms=sum(row["remainder_ms"] for row in good),
        lost_ms=lost_ms_by_reason(row["lost"] for row in good),
        tar_bytes=sum(row["tar_bytes"] for row in good),
        new=new,
    )
