"""A batch of downloaded videos to clips: 16 s of 160 frames each, in one tar per video, measured in the same pass.

Worker processes decode each video once (`pipeline.clips.cut_video`) and publish its tar before any row names it.
Then come the rows of `clips`, and last the row of `clippings`, which makes them count. Rows are committed every few
videos, so a run that is killed loses little, and the next one goes on with the videos that have no row.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.clip_spec import clip_spec
from pipeline.clips.cut_video import CutJob, CutVideo, cut_or_blame
from pipeline.clips.flags import FLAGS
from pipeline.clips.read import read_clips
from pipeline.config import Config
from pipeline.download.disk_space import drop_cut_raw
from pipeline.download.ledger import download_states
from pipeline.errors import UserError
from pipeline.progress import Progress, ProgressCallback
from pipeline.storage.arrow import pc
from pipeline.storage.home import Home
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down
from pipeline.workers.engine import make_engine
from pipeline.workers.outcome import TIMEOUT, WORKER_DIED, Outcome

_COMMIT_VIDEOS, _COMMIT_S = 16, 10.0


@dataclass(frozen=True)
class ClipReport:
    """What a batch holds after a cut: all of it, not only what this run added."""

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
    tar_bytes: int
    new: int = 0
    """Videos that this run added, failed ones included."""

    @property
    def failed_share(self) -> float:
        """Failed videos as a share of those tried."""
        failed = sum(self.failed.values())
        return failed / max(1, self.ok + failed)


def cut_batch(
    store: Store,
    config: Config,
    home: Home,
    batch: str,
    *,
    retry_failed: bool = False,
    on_progress: ProgressCallback | None = None,
) -> ClipReport:
    """Cut every downloaded video of a batch that was not cut yet under the current clip_spec.

    A video that cannot be cut is recorded with its reason and left; it is tried again when it is downloaded anew, or
    with `retry_failed`. Nothing due, nothing written.

    Raises:
        UserError: the machine (a full or read-only disk) stopped the work; what was cut before it is committed.
    """
    jobs = _due_jobs(store, config, home, batch, retry_failed)
    if not jobs:
        drop_cut_raw(store, config, batch)
        return clip_report(store, config, batch)
    try:
        home.tmp.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise UserError(
            f"folder {str(home.tmp)!r} for unfinished clips cannot be made: {exc.strerror}. Give this user write "
            "access to it, or choose another --root."
        ) from exc
    writer = _Writer(store, batch, clip_spec(config.clips))
    blocked = ""
    engine = make_engine(config.engine)
    try:
        with Progress("clips", total=len(jobs), unit="videos", on_progress=on_progress) as progress:
            for job, outcome in engine.run(cut_or_blame, jobs):
                if outcome.ok and isinstance(outcome.value, str):
                    blocked = outcome.value
                    break
                writer.add(outcome.value if outcome.ok else _failure(job, outcome))
                progress.advance(note=f"{batch} {job.video_id}")
    finally:
        writer.flush()  # also when interrupted: what is cut is cut
    if blocked:
        raise UserError(
            f"batch {batch}: clips cannot be written ({blocked}) to {store.root} or {home.tmp}. Free space or give "
            "write access, and run again: what was cut is kept."
        )
    drop_cut_raw(store, config, batch)
    report = clip_report(store, config, batch)
    return ClipReport(**{**vars(report), "new": writer.added})


def _due_jobs(store: Store, config: Config, home: Home, batch: str, retry_failed: bool) -> list[CutJob]:
    spec = clip_spec(config.clips)
    where = (pc.field("batch") == batch) & (pc.field("clip_spec") == spec)
    done = {
        (row["video_id"], row["source_sha256"])
        for row in store.read("clippings", ["video_id", "source_sha256", "state"], where).to_pylist()
        if row["state"] == "ok" or not retry_failed
    }
    return [
        CutJob(store, config.clips, batch, video_id, str(state.path), str(state.sha256), str(home.tmp))
        for video_id, state in sorted(download_states(store, batch).items())
        # a dropped file that was not cut to this format is fetched again first
        if state.path is not None and (video_id, state.sha256) not in done
    ]


def _failure(job: CutJob, outcome: Outcome) -> CutVideo:
    known = outcome.error_class in {WORKER_DIED, TIMEOUT}
    message = outcome.message.replace(job.store.root, "").replace(job.tmp, "")
    row = {
        "video_id": job.video_id,
        "batch": job.batch,
        "clip_spec": clip_spec(job.config),
        "source_sha256": job.sha256,
        "state": "failed",
        "error_class": outcome.error_class,
        "message": f"cutting: {message}" if known else message,
        "num_clips": 0,
    }
    return CutVideo(row, [])


@dataclass
class _Writer:
    """Commits the rows of finished videos every few videos or seconds: clips first, clippings last.

    Another run may cut the same batch at the same time: what it has published is left as it is, and a video's rows
    always replace those that are there (an interrupted run's, an older download's), so that none is there twice.
    """

    store: Store
    batch: str
    spec: str
    added: int = 0
    waiting: list[CutVideo] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        rows = self.store.read("videos", ["video_id", "channel_id"], pc.field("batch") == self.batch).to_pylist()
        self.channels = {row["video_id"]: row["channel_id"] for row in rows}

    def add(self, cut: CutVideo) -> None:
        self.waiting.append(cut)
        if len(self.waiting) >= _COMMIT_VIDEOS or time.monotonic() - self.since > _COMMIT_S:
            self.flush()

    def flush(self) -> None:
        hidden, cut_meanwhile = taken_down(self.store), self._cut()
        shown = [
            cut
            for cut in self.waiting
            if not hidden.hides(cut.clipping["video_id"], self.channels.get(cut.clipping["video_id"]))
            and (cut.clipping["video_id"], cut.clipping["source_sha256"]) not in cut_meanwhile
        ]
        if shown:
            # ids hold no quotes: see pipeline.ids
            ids = ", ".join(f"'{cut.clipping['video_id']}'" for cut in shown)
            where = f"batch = '{self.batch}' AND clip_spec = '{self.spec}' AND video_id IN ({ids})"
            self.store.replace("clips", [row for cut in shown for row in cut.clips], where=where)
            self.store.replace("clippings", [cut.clipping for cut in shown], where=where)
        self.added += len(shown)
        self.waiting, self.since = [], time.monotonic()

    def _cut(self) -> set[tuple[str, str]]:
        """Return the videos of the batch whose clips are there, each with the hash of the file they are from."""
        where = (pc.field("batch") == self.batch) & (pc.field("clip_spec") == self.spec) & (pc.field("state") == "ok")
        rows = self.store.read("clippings", ["video_id", "source_sha256"], where).to_pylist()
        return {(row["video_id"], row["source_sha256"]) for row in rows}


# -- reading ---------------------------------------------------------------------------------------------------------


def batch_is_cut(store: Store, config: Config, batch: str) -> bool:
    """Tell whether every downloaded video of a batch was cut, or recorded as failed, under the current clip_spec."""
    home = Home(Path())
    return not _due_jobs(store, config, home, batch, retry_failed=False)


def clip_report(store: Store, config: Config, batch: str) -> ClipReport:
    """Return what a batch holds under the current clip_spec, read from its rows."""
    spec = clip_spec(config.clips)
    where = (pc.field("batch") == batch) & (pc.field("clip_spec") == spec)
    hidden = taken_down(store).hidden_videos(store)
    all_cuts = store.read("clippings", where=where).to_pylist()
    cuts = [row for row in all_cuts if row["video_id"] not in hidden]
    good = [row for row in cuts if row["state"] == "ok"]
    flags = Counter(
        flag for row in read_clips(store, config, ["flags"], batch=batch).to_pylist() for flag in row["flags"]
    )
    return ClipReport(
        batch=batch,
        clip_spec=spec,
        ok=len(good),
        failed=dict(sorted(Counter(row["error_class"] for row in cuts if row["state"] != "ok").items())),
        pending=len(_due_jobs(store, config, Home(Path()), batch, retry_failed=False)),
        taken_down=len(all_cuts) - len(cuts),
        num_clips=sum(row["num_clips"] for row in good),
        flags={flag: flags[flag] for flag in FLAGS},
        source_ms=sum(row["source_ms"] for row in good),
        clip_ms=sum(row["clip_ms"] for row in good),
        remainder_ms=sum(row["remainder_ms"] for row in good),
        tar_bytes=sum(row["tar_bytes"] for row in good),
    )
