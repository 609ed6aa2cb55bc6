"""The figures of a root and of its Dagster as Prometheus takes them.

Counting a store of a million videos takes seconds. So it is counted again only where a table changed, and never for
more than a twentieth of the time.

    lampworks_stage_clips_total{stage}             what each stage worked on: its rate is the throughput
    lampworks_attempts_total{state,error_class}    attempts at downloads
    lampworks_failures{kind,error_class}           items that failed, by kind and class
    lampworks_batches_due, lampworks_runs{status}  what waits
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from assets.cli.services.health import Answers, heartbeat_ages
from assets.graph.jobs import JOBS
from assets.passes.due_batches import collect_due
from assets.passes.postgres import postgres_url, why_no_answer
from assets.settings import Settings
from pipeline.download.circuit_breaker import breakers
from pipeline.inspect.failed_items import failed_items
from pipeline.inspect.status import status
from pipeline.outside import shown_text
from pipeline.storage.arrow import pc, total
from pipeline.storage.schemas import SCHEMAS

if TYPE_CHECKING:
    import dagster as dg

_LOGGER = logging.getLogger(__name__)
Metric = GaugeMetricFamily | CounterMetricFamily
Values = Mapping[str, float] | Mapping[tuple[str, ...], int] | Mapping[tuple[str, ...], float]
_COSTS = {
    "seconds": ("seconds", "Time that a stage took."),
    "cpu_s": ("cpu_seconds", "CPU time of a stage, its workers included."),
    "gpu_s": ("gpu_seconds", "GPU time of a stage."),
    "video_s": ("video_seconds", "Footage that a stage worked on, in seconds."),
    "clips": ("clips", "Clips that a stage worked on."),
    "bytes_read": ("read_bytes", "Bytes that a stage read from the store."),
    "bytes_written": ("written_bytes", "Bytes that a stage wrote to the store."),
    "bytes_downloaded": ("downloaded_bytes", "Bytes that a stage downloaded."),
    "requests": ("requests", "Requests of a stage to the store."),
}
_TIMES_LONGER = 20
"""After a count that took a second, the next one is at least this many seconds later."""


@dataclass
class StoreFigures:
    """The figures of a store, counted again where a table changed."""

    settings: Settings
    _versions: Mapping[str, int] = field(default_factory=dict)
    _metrics: list[Metric] = field(default_factory=list)
    _again_at: float = 0.0
    _due_at: str = ""
    _counting: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    def under(self, settings: Settings) -> StoreFigures:
        """Count under these settings from now on: anew where they have changed."""
        if settings.config != self.settings.config:
            self._versions, self._again_at = {}, 0.0
        self.settings = settings
        return self

    def metrics(self) -> list[Metric]:
        """Return the figures, at most a little old."""
        if not self._counting.acquire(blocking=False):
            return self._metrics  # another request counts already
        try:
            return self._known()
        finally:
            self._counting.release()

    def _known(self) -> list[Metric]:
        now = time.monotonic()
        if now < self._again_at:
            return self._metrics
        versions = {name: self.settings.store.version(name) for name in SCHEMAS}
        is_due = bool(self._due_at) and datetime.now(UTC).isoformat() >= self._due_at
        if versions != self._versions or is_due:
            self._metrics = list(self._count())
            self._versions = versions
            self._again_at = time.monotonic() + _TIMES_LONGER * (time.monotonic() - now)
        return self._metrics

    def _count(self) -> Iterator[Metric]:
        store, config = self.settings.store, self.settings.config
        found = status(store, config)
        downloads = found.downloads
        states = {
            "ok": downloads.ok, "failed": sum(downloads.failed.values()), "pending": downloads.pending,
            "rejected": sum(downloads.rejected.values()), "taken_down": downloads.taken_down,
        }  # fmt: skip
        yield _gauge("videos", "Kept videos by the state of their download.", ["state"], states)
        yield from _attempts(self.settings)
        yield from _costs(self.settings)
        cuts = {"cut": found.clips.videos_cut, "pending": found.clips.videos_pending}
        yield _gauge("cut_videos", "Downloaded videos by whether they are cut.", ["state"], cuts)
        seconds = {"source": found.clips.source_seconds, "clips": found.clips.clip_seconds}
        yield _gauge("seconds", "Seconds of footage of the videos that are cut, and of their clips.", ["of"], seconds)
        yield _gauge("clips", "Clips of the current format.", [], {"": found.clips.total})
        if (curated := found.curated) is not None:
            verdicts = {"keep": curated.keep, "drop": curated.drop, "review": curated.review}
            yield _gauge("decided_clips", "Clips by the latest decision.", ["decision"], verdicts)
        failures: Counter[tuple[str, ...]] = Counter()
        for item in failed_items(store, config, datetime.now(UTC)):
            if not item.waits:
                failures[item.kind, item.error_class] += 1
        yield _gauge("failures", "Items that failed, by kind and class.", ["kind", "error_class"], failures)
        due = collect_due(store, config, datetime.now(UTC))
        self._due_at = due.next_at.isoformat() if due.next_at else ""
        yield _gauge("batches_due", "Batches with something to download or to cut.", [], {"": len(due.batches)})
        paused = {site: 1 for site, one in breakers(store).items() if one.state_at(datetime.now(UTC)) == "open"}
        yield _gauge("site_paused", "Sites whose circuit breaker is open.", ["site"], paused)
        yield _gauge("unbalanced_totals", "Totals that do not balance; 0 is well.", [], {"": len(found.violations)})


def _attempts(settings: Settings) -> Iterator[Metric]:
    """Yield counters of the attempts at downloads: rows that are only added."""
    counted: Counter[tuple[str, ...]] = Counter()
    size = 0
    for rows in settings.store.scan("downloads", ["state", "error_class", "bytes"]):
        table = pa.Table.from_batches([rows])
        for row in table.group_by(["state", "error_class"]).aggregate([([], "count_all")]).to_pylist():
            counted[row["state"], row["error_class"] or ""] += row["count_all"]
        size += total(pc.fill_null(rows["bytes"], 0))
    yield _counter("attempts", "Attempts at downloads.", ["state", "error_class"], counted)
    yield _counter("downloaded_bytes", "Bytes of the files that were downloaded.", [], {"": size})


def _costs(settings: Settings) -> Iterator[Metric]:
    """Yield counters of what each stage used and worked on: rows that are only added."""
    booked = settings.store.read("costs", ["stage", *_COSTS])
    sums = booked.group_by("stage").aggregate([(name, "sum") for name in _COSTS]).to_pylist()
    for name, (figure, text) in _COSTS.items():
        values: dict[tuple[str, ...], float] = {(row["stage"],): row[f"{name}_sum"] or 0 for row in sums}
        yield _counter(f"stage_{figure}", text, ["stage"], values)


def run_metrics(instance: dg.DagsterInstance) -> Iterator[Metric]:
    """Yield the figures of Dagster's runs, pools and daemon."""
    import dagster as dg

    statuses = dg.DagsterRunStatus
    waiting = (statuses.QUEUED, statuses.NOT_STARTED, statuses.STARTING, statuses.STARTED, statuses.CANCELING)
    found = {one.value.lower(): instance.get_runs_count(dg.RunsFilter(statuses=[one])) for one in waiting}
    yield _gauge("runs", "Runs that wait or are at work.", ["status"], found)
    ended: dict[tuple[str, ...], int] = {}
    for job in (*JOBS, "full_pass", "recurate"):
        for one in (statuses.SUCCESS, statuses.FAILURE, statuses.CANCELED):
            chosen = dg.RunsFilter(job_name=job, statuses=[one])
            ended[job, one.value.lower()] = instance.get_runs_count(chosen)
    yield _counter("runs_ended", "Runs that ended.", ["job", "status"], ended)
    slots: dict[tuple[str, ...], int] = {}
    for pool in instance.event_log_storage.get_pool_limits():
        info = instance.event_log_storage.get_concurrency_info(pool.name)
        slots[pool.name, "all"], slots[pool.name, "claimed"] = info.slot_count, len(info.claimed_slots)
        slots[pool.name, "waiting"] = len(info.pending_steps)
    yield _gauge("pool_slots", "Slots of a pool, those claimed, and steps that wait for one.", ["pool", "state"], slots)


class Figures(Collector):
    """Collects all figures when Prometheus asks; what does not answer is left out, and named by `lampworks_up`."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._now, self._store = settings, StoreFigures(settings())

    def collect(self) -> Iterable[Metric]:
        """Return every figure as of now."""
        up: Answers = {}
        found = [*self._collect("store", up), *self._collect("storage", up), *self._disk()]
        return [*found, _gauge("up", "Whether a part answers.", ["part"], {name: not why for name, why in up.items()})]

    def _collect(self, part: str, up: Answers) -> list[Metric]:
        try:
            found = self._store.under(self._now()).metrics() if part == "store" else _of_dagster()
        except Exception as exc:  # a bucket or a database that is away: the other figures are wanted all the more
            up[part] = str(exc) or type(exc).__name__
            _LOGGER.warning("figures of the %s are missing: %s", part, shown_text(up[part]), exc_info=True)
            return []
        up[part] = None
        return found

    def _disk(self) -> Iterator[Metric]:
        settings = self._store.settings
        folders = {"home": settings.home.folder}
        if settings.store.is_local:
            folders["root"] = Path(settings.store.root)
        free = {name: shutil.disk_usage(folder).free for name, folder in folders.items() if folder.is_dir()}
        yield _gauge("disk_free_bytes", "Free space of the disk of a folder.", ["folder"], free)


def _of_dagster() -> list[Metric]:
    import dagster as dg

    url = postgres_url()
    if url is not None and (why := why_no_answer(url)):
        raise ConnectionError(why)
    with dg.DagsterInstance.get() as instance:
        found = list(run_metrics(instance))
    ages = {name.lower(): age for name, age in heartbeat_ages().items() if age is not None}
    found.append(_gauge("daemon_report_age_seconds", "Time since a part of the daemon reported.", ["daemon"], ages))
    return found


def registry_of(settings: Callable[[], Settings]) -> CollectorRegistry:
    """Return a registry with the figures of a root and of its Dagster."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Figures(settings))
    return registry


def _gauge(name: str, text: str, labels: list[str], values: Values) -> Metric:
    return _filled(GaugeMetricFamily(f"lampworks_{name}", text, labels=labels), labels, values)


def _counter(name: str, text: str, labels: list[str], values: Values) -> Metric:
    return _filled(CounterMetricFamily(f"lampworks_{name}", text, labels=labels), labels, values)


def _filled(family: Metric, labels: list[str], values: Values) -> Metric:
    for key, value in values.items():
        names = () if not labels else key if isinstance(key, tuple) else (key,)
        family.add_metric(names, float(value))
    return family
