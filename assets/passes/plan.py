"""What a pass would download and train, estimated before it starts: videos, bytes, hours, models."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import pyarrow as pa

from assets.passes.plan_training import TrainingPlan, format_training, plan_training
from assets.settings import Settings
from pipeline.config import Config
from pipeline.costs.stages import StageCost, cost_lines, stage_costs, total_per_thousand_hours
from pipeline.storage.arrow import pc, unique
from pipeline.storage.store import Store

# the smallest sufficient format (144p, video only) of real sites, measured; and what a clip of 16 s weighs
_BYTES_PER_SECOND = 12_000
_CLIP_S, _CLIP_BYTES = 16, 121_000
# polite limits of one address, and the clipping of one core, in seconds of work per second of video
_FETCH_SHARE, _CUT_SHARE = 0.02, 0.02


@dataclass(frozen=True)
class Plan:
    """An estimate of the work ahead."""

    searched: bool
    """Whether it rests on a search (else on the configuration alone)."""
    videos: int
    """Videos to fetch, and to cut then."""
    unknown: int
    """Videos of unknown length, counted with the mean length of the others."""
    fetched: int
    """Videos that are there and are only to be cut."""
    batches: int
    hours: float
    """Hours of video."""
    fetch_bytes: int
    clips: int
    clip_bytes: int
    work_hours: float
    """Hours of fetching and cutting on this machine, one core."""
    training: tuple[TrainingPlan, ...] = ()
    costs: tuple[StageCost, ...] = ()
    """What the stages have cost so far."""


class Work(NamedTuple):
    """Videos, with their hours and bytes."""

    videos: int = 0
    hours: float = 0.0
    unknown: int = 0
    """Videos of unknown length."""
    num_bytes: int = 0
    """Bytes of the files: their size, where a search tells it, else by their length."""


def plan_pass(settings: Settings, select: Sequence[str] | None = None) -> Plan:
    """Return what the next pass would fetch, cut and train.

    A real source is searched first, which is cheap. Nothing is fetched and nothing is trained.

    Args:
        settings: root and configuration.
        select: as of `assets.passes.driver.full_pass`.
    """
    plan = _collection(settings)
    training = tuple(plan_training(settings, select, fetches=plan.videos + plan.fetched > 0))
    return dataclasses.replace(plan, training=training, costs=tuple(stage_costs(settings.store)))


def _collection(settings: Settings) -> Plan:
    from assets.passes.due_batches import collect_due
    from assets.passes.lock import lock_home
    from pipeline.download.due import due_rows, uncut_rows
    from pipeline.download.ledger import fold_all
    from pipeline.inspect.retry import fetch_dropped_actions
    from pipeline.job import Job
    from pipeline.search.search import search_videos

    config, store = settings.config, settings.store
    if config.source.kind == "arcade" and store.version("videos") < 0:
        # its recordings are made for the search itself: say what the configuration says
        videos, seconds = config.arcade.videos, config.arcade.videos * config.arcade.seconds
        return _plan(
            Work(videos, seconds / 3600, num_bytes=int(seconds * _BYTES_PER_SECOND)),
            Work(),
            batches=-(-videos // config.source.batch_size),
            config=config,
            searched=False,
        )
    if config.source.kind != "arcade":
        with lock_home(settings.home, store.root):
            store.check_writable()
            search_videos(Job(store, config, settings.home))
            fetch_dropped_actions(settings.job())
    now = datetime.now(UTC)
    states = fold_all(store)
    fetch = unique(due_rows(store, config, states, now)["video_id"])
    cut = unique(uncut_rows(store, config, states.filter(pc.invert(states["dropped"])))["video_id"])
    batches = len(collect_due(store, config, now).batches)
    return _plan(_work(store, fetch), _work(store, cut), batches=batches, config=config, searched=True)


def _work(store: Store, video_ids: list[str]) -> Work:
    """Return how many videos these are, and their hours; unknown lengths are counted with the mean of the others."""
    wanted = pc.field("video_id").isin(pa.array(video_ids, pa.string()))
    rows = store.read("videos", ["duration_s", "size_bytes"], wanted)
    lengths, sizes = rows["duration_s"].to_pylist(), rows["size_bytes"].to_pylist()
    known = [seconds for seconds in lengths if seconds]
    mean = sum(known) / len(known) if known else 0.0
    num_bytes = sum(
        size if size is not None else int((seconds or mean) * _BYTES_PER_SECOND)
        for seconds, size in zip(lengths, sizes, strict=True)
    )
    unknown = len(lengths) - len(known)
    return Work(len(lengths), (sum(known) + mean * unknown) / 3600, unknown, num_bytes)


def _plan(fetch: Work, cut: Work, *, batches: int, config: Config, searched: bool) -> Plan:
    fetched_s, cut_s = fetch.hours * 3600, (fetch.hours + cut.hours) * 3600
    episodes = config.clips.mode == "episodes"
    clips = fetch.videos + cut.videos if episodes else int(cut_s // config.clips.seconds)
    return Plan(
        searched=searched,
        videos=fetch.videos,
        unknown=fetch.unknown + cut.unknown,
        fetched=cut.videos,
        batches=batches,
        hours=fetch.hours + cut.hours,
        fetch_bytes=fetch.num_bytes,
        clips=clips,
        clip_bytes=int(cut_s / _CLIP_S) * _CLIP_BYTES if episodes else clips * _CLIP_BYTES,
        work_hours=(fetched_s * _FETCH_SHARE + cut_s * _CUT_SHARE) / 3600,
    )


def format_plan(plan: Plan) -> str:
    """Return the estimate as lines for a terminal."""
    if not plan.videos + plan.fetched:
        return "\n".join(
            [
                "plan: nothing to fetch; `lampworks run` makes what is out of date behind it",
                *_costs_so_far(plan),
                *format_training(plan.training),
            ]
        )
    lines = [
        f"plan ({'after a search' if plan.searched else 'from the configuration'}; estimates, nothing was started):",
        f"  videos   {plan.videos:,} to fetch"
        + (f" and {plan.fetched:,} that are there to cut" if plan.fetched else "")
        + f", in {plan.batches:,} batches"
        + (f", {plan.unknown:,} of unknown length" if plan.unknown else ""),
        *(_unmeasured(plan) if plan.unknown == plan.videos + plan.fetched else _measured(plan)),
        *_costs(plan),
        *format_training(plan.training),
    ]
    return "\n".join(lines)


def _costs_so_far(plan: Plan) -> list[str]:
    lines = cost_lines([cost for cost in plan.costs if cost.per_batch])
    return ["  costs    of earlier batches:", *(f"           {line}" for line in lines)] if lines else []


def _costs(plan: Plan) -> list[str]:
    """Return what these hours of video will cost, by what earlier batches have cost."""
    if plan.unknown == plan.videos + plan.fetched:
        return []
    known = [cost for cost in plan.costs if cost.per_batch]
    if not known:
        return ["  costs    not known: no batch was made yet"]
    share = plan.hours / 1000
    cpu, gpu, read, written = (
        share * total_per_thousand_hours(known, name) for name in ("cpu_s", "gpu_s", "bytes_read", "bytes_written")
    )
    sums = f"{cpu / 3600:,.2f} CPU-hours, {gpu / 3600:,.2f} GPU-hours, {_size(read)} read, {_size(written)} written"
    lines = cost_lines(known)
    if all(cost.too_few for cost in known):
        sums = "too few batches were made to tell"
    return [f"  costs    {sums}, by what earlier batches have cost:", *(f"           {line}" for line in lines)]


def _measured(plan: Plan) -> list[str]:
    return [
        f"  hours    {plan.hours:,.1f} of video, about {max(plan.work_hours, 0.01):,.2f} of one core to fetch and cut",
        f"  bytes    about {_size(plan.fetch_bytes)} to fetch, {_size(plan.clip_bytes)} of clips",
        f"  clips    at most {plan.clips:,}",
    ]


def _unmeasured(plan: Plan) -> list[str]:
    """Return the lines of a plan in which no video has a known length: a zero would be read as an estimate."""
    fetched = f"{_size(plan.fetch_bytes)} to fetch" if plan.fetch_bytes else "unknown"
    return ["  hours    unknown: no video's length is known before it is fetched", f"  bytes    {fetched}"]


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
