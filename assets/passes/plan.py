"""What a pass would download and train, estimated before it starts: videos, bytes, hours, models."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from assets.passes.plan_training import TrainingPlan, format_training, plan_training
from assets.settings import Settings
from pipeline.storage.arrow import pc

# the smallest sufficient format (144p, video only) of real sites, measured; and what a clip of 16 s weighs
_BYTES_PER_SECOND = 12_000
_CLIP_BYTES = 121_000
# polite limits of one address, and the clipping of one core, in seconds of work per second of video
_FETCH_SHARE, _CUT_SHARE = 0.02, 0.02


@dataclass(frozen=True)
class Plan:
    """An estimate of the work ahead."""

    searched: bool
    """Whether it rests on a search (else on the configuration alone)."""
    videos: int
    unknown: int
    """Videos of unknown length, counted with the mean length of the others."""
    batches: int
    hours: float
    """Hours of video."""
    fetch_bytes: int
    clips: int
    clip_bytes: int
    work_hours: float
    """Hours of fetching and cutting on this machine, one core."""
    training: tuple[TrainingPlan, ...] = ()


def plan_pass(settings: Settings, select: Sequence[str] | None = None) -> Plan:
    """Return what the next pass would fetch, cut and train.

    A real source is searched first, which is cheap. Nothing is fetched and nothing is trained.

    Args:
        settings: root and configuration.
        select: as of `assets.passes.driver.full_pass`.
    """
    plan = _collection(settings)
    return dataclasses.replace(plan, training=tuple(plan_training(settings, select, fetches=plan.videos > 0)))


def _collection(settings: Settings) -> Plan:
    from assets.passes.due_batches import collect_due
    from assets.passes.lock import lock_home
    from pipeline.job import Job
    from pipeline.search.search import search_videos

    config, store = settings.config, settings.store
    if config.source.kind == "arcade" and store.version("videos") < 0:
        # its recordings are made for the search itself: say what the configuration says
        videos, hours = config.arcade.videos, config.arcade.videos * config.arcade.seconds / 3600
        return _plan(False, videos, 0, -(-videos // config.source.batch_size), hours, config.clips.seconds)
    if config.source.kind != "arcade":
        with lock_home(settings.home, store.root):
            store.check_writable()
            search_videos(Job(store, config, settings.home))
    due = collect_due(store, config, datetime.now(UTC)).batches
    rows = store.read("videos", ["duration_s"], pc.field("batch").isin(pa.array(list(due), pa.string())))[
        "duration_s"
    ].to_pylist()
    known = [seconds for seconds in rows if seconds]
    mean = sum(known) / len(known) if known else 0.0
    hours = (sum(known) + mean * (len(rows) - len(known))) / 3600
    return _plan(True, len(rows), len(rows) - len(known), len(due), hours, config.clips.seconds)


def _plan(searched: bool, videos: int, unknown: int, batches: int, hours: float, clip_seconds: int) -> Plan:
    seconds = hours * 3600
    clips = int(seconds // clip_seconds)
    return Plan(
        searched=searched,
        videos=videos,
        unknown=unknown,
        batches=batches,
        hours=hours,
        fetch_bytes=int(seconds * _BYTES_PER_SECOND),
        clips=clips,
        clip_bytes=clips * _CLIP_BYTES,
        work_hours=seconds * (_FETCH_SHARE + _CUT_SHARE) / 3600,
    )


def format_plan(plan: Plan) -> str:
    """Return the estimate as lines for a terminal."""
    if not plan.videos:
        return "\n".join(
            [
                "plan: nothing to fetch; `lampworks run` makes what is out of date behind it",
                *format_training(plan.training),
            ]
        )
    lines = [
        f"plan ({'after a search' if plan.searched else 'from the configuration'}; estimates, nothing was started):",
        f"  videos   {plan.videos:,} in {plan.batches:,} batches"
        + (f", {plan.unknown:,} of unknown length" if plan.unknown else ""),
        f"  hours    {plan.hours:,.1f} of video, about {max(plan.work_hours, 0.01):,.2f} of one core to fetch and cut",
        f"  bytes    about {_size(plan.fetch_bytes)} to fetch, {_size(plan.clip_bytes)} of clips",
        f"  clips    at most {plan.clips:,}",
        *format_training(plan.training),
    ]
    return "\n".join(lines)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
