"""Download one batch: attempt its due videos, wait for those that are due soon, and report where each video stands.

A pass attempts every video that is due (`pipeline.download.run_pass`). After it, videos that are due again within
`download.max_wait_s` get another pass. Videos that are due later, that a circuit breaker holds back, or that the disk
budget does not allow stay pending, and the report says until when.

    report = download_batch(BatchJob(store, config, home, batch="2026w47-0001"))
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.download.attempt import DownloadTask
from pipeline.download.circuit_breaker import Breaker, breakers, paused_until
from pipeline.download.due import dropped_and_uncut, due_videos, short_enough_by_now
from pipeline.download.file_versions import VERSION_COLUMNS
from pipeline.download.ledger import State, download_states
from pipeline.download.report import DownloadReport, PassTotals, download_report
from pipeline.download.run_pass import run_pass
from pipeline.errors import TOO_LONG, UserError
from pipeline.job import BatchJob
from pipeline.progress import notify
from pipeline.sources.base import site_of
from pipeline.sources.faults import UNFINISHED
from pipeline.storage.arrow import pc

_MAX_REFUSALS = 3
"""Refusals in a row after which a run no longer waits for a site, however short the pause of its breaker is."""
# what a source needs to fetch a video: descriptions and tags would be most of the bytes of a batch
_COLUMNS = [
    "video_id", "source", "extractor", "native_id", "url", "title", "licence", "age_limit", "channel_id", "channel",
    *VERSION_COLUMNS,
]  # fmt: skip

Videos = Mapping[str, Mapping[str, Any]]
"""Rows of `videos` by id."""


def download_batch(job: BatchJob, *, now: datetime | None = None) -> DownloadReport:
    """Attempt the due videos of a batch; write nothing where none is due.

    A share of failures above `download.max_failed_share`, paused sites and a full disk do not raise: all is recorded,
    the report holds them, and the caller decides what they mean.

    Args:
        job: the batch, as a search named it; attempts work under `job.home.tmp`.
        now: the time that decides what is due (UTC); with it, one pass is made. By default the current time.

    Raises:
        UserError: no such batch, a folder that cannot be written, or settings of the source that are wrong.
    """
    start = time.monotonic()
    store, limit_s = job.store, job.config.download.max_wait_s
    states = download_states(store, job.batch)
    if not states:
        raise UserError(
            f"batch {job.batch!r} has no kept video in {store.root}: run the search first, or check the batch's name"
        )
    videos = _videos(job)
    attempts, paused = 0, ""
    while True:
        known = breakers(store)
        tasks = _due_tasks(job, states, videos, known, now or datetime.now(UTC))
        if not tasks:
            break
        done = run_pass(job, tasks, known)
        attempts, paused = attempts + done.attempts, done.paused
        states = download_states(store, job.batch)
        if not done.attempts or paused or now is not None:
            break
        wait_s = _seconds_to_next(states, videos, breakers(store))
        if wait_s is None or wait_s > limit_s:
            break
        if wait_s > 1 and job.on_progress is not None:
            job.on_progress(f"download {job.batch}: the next attempt may start in {wait_s:.0f} s")
        time.sleep(wait_s)
    if attempts:
        _tell_unfinished(job, states.values())
    sites = {_site(video) for video in videos.values()}
    return download_report(job, states, sites, PassTotals(attempts, paused, time.monotonic() - start))


def _tell_unfinished(job: BatchJob, states: Iterable[State]) -> None:
    """Say how many files are still being written, and when they are due again."""
    times = [state.next_try_at for state in states if (state.state, state.error_class) == ("pending", UNFINISHED)]
    if times:
        what = "1 file is" if len(times) == 1 else f"{len(times)} files are"
        when = max((time for time in times if time is not None), default=datetime.now(UTC))
        text = f"download {job.batch}: {what} still being written: pending, and due again after {when:%H:%M:%S} UTC"
        notify(text, job.on_progress)


def _videos(job: BatchJob) -> Videos:
    """Return the videos of the batch that the configured source can fetch."""
    where = (pc.field("batch") == job.batch) & (pc.field("source") == job.config.source.kind)
    return {row["video_id"]: row for row in job.store.read("videos", _COLUMNS, where).to_pylist()}


def _site(video: Mapping[str, Any]) -> str:
    return site_of(video["source"], video["url"] or "")


def _due_tasks(
    job: BatchJob, states: Mapping[str, State], videos: Videos, known: Mapping[str, Breaker], now: datetime
) -> list[DownloadTask]:
    """Return the videos due for download: pending, needed again or allowed by now, of sites that are not paused."""
    too_long = [name for name, state in states.items() if (state.state, state.error_class) == ("rejected", TOO_LONG)]
    due = {
        *due_videos(states.values(), now, job.config),
        *dropped_and_uncut(job.store, job.config, job.batch, states.values()),
        *short_enough_by_now(job.store, job.config, too_long),
    }
    tasks = [
        DownloadTask(videos[name], states[name].attempts + 1, states[name].refused)
        for name in sorted(due & videos.keys())
    ]
    paused = paused_until(known, {task.site for task in tasks}, now)
    return [task for task in tasks if task.site not in paused]


def _seconds_to_next(states: Mapping[str, State], videos: Videos, known: Mapping[str, Breaker]) -> float | None:
    """Return the seconds until the next pending video is due; None where none is, or its site refused too often."""
    now = datetime.now(UTC)
    times = []
    for name, state in states.items():
        # a file that is still being written could keep this run waiting for as long as it grows
        if state.state != "pending" or state.error_class == UNFINISHED or name not in videos:
            continue
        at = state.next_try_at or now
        breaker = known.get(_site(videos[name]))
        if breaker is not None and breaker.state == "open":
            if breaker.refusals >= _MAX_REFUSALS:
                continue
            at = max(at, breaker.next_try_at or now)
        times.append(at)
    return max((min(times) - now).total_seconds(), 0.0) if times else None
