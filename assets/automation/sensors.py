"""The sensor that asks for due batches: new ones, and those with a retry whose time has come. Off by default."""

import json
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

import dagster as dg

from assets.graph.partitions import VIDEO_BATCH
from assets.graph.resources import Lampworks
from assets.passes.due_batches import Due, collect_due
from assets.settings import Settings
from pipeline.clip_spec import clip_spec

MOST_RUNS = 100
"""Runs of batches that wait or are at work at a time: the queue stays readable, and the rest has its turn later."""
LOOK_AGAIN = timedelta(hours=1)
"""A batch that stays due without any progress (no room on the disk, a paused site) is requested again after it."""
# what a batch being due depends on
_TABLES = ("videos", "downloads", "breakers", "clippings", "takedowns")
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
# a batch at work in a run of the launch window counts too; its scoring does not
_JOBS = frozenset({"collect_batch", "__ASSET_JOB"})


@dataclass(frozen=True)
class Cursor:
    """What a tick leaves for the next one."""

    versions: dict[str, int] = field(default_factory=dict)
    """Table -> version, when the round of requests began: what was written since is looked at in the next round."""
    settings: str = ""
    """What else being due depends on: the clip_spec and the kind of source."""
    next_at: str = ""
    """When to look again although no table moved (ISO 8601); empty: never."""
    after: str = ""
    """The last batch of this round that had its turn; empty: the round is over."""
    asked: int = -2
    """Version of `downloads` when a download was last asked for; -2: never."""

    @classmethod
    def read(cls, text: str | None) -> Self:
        """Return a cursor from its text; any other text starts from scratch."""
        with suppress(ValueError, TypeError):
            return cls(**json.loads(text or "{}"))
        return cls()

    def text(self) -> str:
        """Return the cursor as Dagster stores it."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Tick:
    """What a tick asks for."""

    requests: dict[str, str]
    """Batch -> run key."""
    cursor: str
    said: str
    """Why nothing is asked for, or what is left for the next tick."""


def tick(settings: Settings, cursor: str | None, busy: Callable[[], Collection[str]], now: datetime) -> Tick:
    """Return the runs to request now; where nothing moved, only the versions of tables were read.

    Args:
        settings: the root and its configuration.
        cursor: what the last tick returned.
        busy: returns the batches that a run is at work on, or will be.
        now: the time that decides what is due (UTC).
    """
    last = Cursor.read(cursor)
    # before anything is read: what is written from here on is the next round's
    seen = Cursor({name: settings.store.version(name) for name in _TABLES}, _depends_on(settings))
    same = (last.versions, last.settings) == (seen.versions, seen.settings)
    waits = not last.next_at or now.isoformat() < last.next_at
    if same and waits and not last.after:
        return Tick({}, last.text(), f"nothing moved; next look at {last.next_at or 'the next change'}")
    at_work = busy()
    room = MOST_RUNS - len(at_work)
    if room <= 0:
        return Tick({}, last.text(), f"{len(at_work)} runs of batches wait or are at work: that is enough")
    due = collect_due(settings.store, settings.config, now)
    left = [batch for batch in due.batches if batch > last.after and batch not in at_work]
    asked, later = left[:room], left[room:]
    if last.asked == seen.versions["downloads"]:
        asked, later = _one_and_cuts(due, left, at_work, room)
    times = [due.next_at.isoformat()] if due.next_at else []
    if due.batches:
        times.append(_turn_at(now, 1).isoformat())
    if last.after:
        # the round goes on: it keeps the versions and the time that it began with
        times += [last.next_at] if last.next_at else []
    fetches = [batch for batch in asked if batch not in due.cuts]
    begun = last if last.after else seen
    mark = Cursor(
        versions=begun.versions,
        settings=begun.settings,
        next_at=min(times, default=""),
        after=max(fetches or asked) if later and asked else last.after if later else "",
        asked=seen.versions["downloads"] if fetches else last.asked,
    )
    # the same work is asked for once, and again in the next hour if nothing came of it
    turn = f"{_turn_at(now, 0):%Y%m%dT%H}"
    said = f"{len(later)} more in the next ticks" if later else "" if asked else _nothing(due.batches, due.next_at)
    return Tick({batch: f"{batch}:{due.batches[batch]}:{turn}" for batch in asked}, mark.text(), said)


def _one_and_cuts(due: Due, left: list[str], at_work: Collection[str], room: int) -> tuple[list[str], list[str]]:
    """Return what to ask for, and what is left, where the downloads last asked for have brought no attempt.

    Whatever holds them back (no room on the disk, the limit of a day, settings that are wrong), one run finds out as
    well as a hundred. Cuts go on, and may make room.
    """
    fetches = [batch for batch in left if batch not in due.cuts]
    cuts = [batch for batch in due.batches if batch in due.cuts and batch not in at_work][: room - 1]
    return sorted([*cuts, *fetches[:1]]), fetches[1:]


def _depends_on(settings: Settings) -> str:

    return f"{settings.config.source.kind} {clip_spec(settings.config.clips)}"


def _turn_at(now: datetime, turns: int) -> datetime:
    """Return when the current turn (or one that many later) began."""
    length = int(LOOK_AGAIN.total_seconds())
    return datetime.fromtimestamp((int(now.timestamp()) // length + turns) * length, UTC)


def _nothing(due: Collection[str], next_at: datetime | None) -> str:
    if due:
        return f"{len(due)} batches are due, and a run has each of them"
    return f"no batch is due before {next_at.isoformat()}" if next_at else "no batch is due"


def batches_at_work(instance: dg.DagsterInstance) -> set[str]:
    """Return the batches that a run downloads or cuts, or waits to."""
    runs = instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED))
    return {run.tags["dagster/partition"] for run in runs if run.job_name in _JOBS and "dagster/partition" in run.tags}


@dg.sensor(
    job_name="collect_batch",
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Requests `collect_batch` for every batch that has something to download or to cut.",
)
def due_batches_sensor(context: dg.SensorEvaluationContext, lampworks: Lampworks) -> dg.SensorResult:
    """Request one run per due batch, a bounded number at a time; a tick after which nothing moved costs nothing."""
    found = tick(lampworks.settings(), context.cursor, lambda: batches_at_work(context.instance), datetime.now(UTC))
    new = set(found.requests) - set(context.instance.get_dynamic_partitions("video_batch")) if found.requests else set()
    if found.requests and found.said:
        context.log.info(f"{len(found.requests)} batches asked for, {found.said}")
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=key, partition_key=batch) for batch, key in found.requests.items()],
        dynamic_partitions_requests=[VIDEO_BATCH.build_add_request(sorted(new))] if new else [],
        skip_reason=None if found.requests else found.said,
        cursor=found.cursor,
    )
