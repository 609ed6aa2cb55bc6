"""One pass over the due videos of a batch: worker threads make the attempts, and rows are appended as they end.

Attempts run in threads of a supervised process. Which video is next is decided by `pipeline.download.schedule`; rows
go through `pipeline.download.row_writer`, so a kill loses seconds of work and not a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from pipeline.download.attempt import AttemptContext, AttemptResult, DownloadTask, attempt, lost
from pipeline.download.circuit_breaker import Breaker
from pipeline.download.cluster_limits import limits_of
from pipeline.download.disk_space import DiskBudget
from pipeline.download.report import PassTotals
from pipeline.download.row_writer import RowWriter
from pipeline.download.schedule import Feed
from pipeline.errors import UserError
from pipeline.job import BatchJob
from pipeline.progress import Progress
from pipeline.sources import open_source
from pipeline.storage.home import Home
from pipeline.storage.owner import scratch_folder
from pipeline.workers.engine import make_engine, scratch_of

_THREADS = 16
"""Most threads of one worker process: they share one interpreter, and a death or a hang disturbs them all."""


def run_pass(job: BatchJob, tasks: list[DownloadTask], known: dict[str, Breaker]) -> PassTotals:
    """Attempt the tasks that rate limits, circuit breakers and the disk budget allow.

    Args:
        job: the batch.
        tasks: videos due for download.
        known: circuit breakers by site; changed ones are put into it.
    """
    settings = job.config.download
    with _work_folder(job.home) as folder:
        budget = DiskBudget(job.store, job.config, job.home)
        if shortage := budget.shortage():
            return PassTotals(0, shortage)
        with open_source(job.config, job.home, job.store.storage_options) as source, limits_of(job) as limits:
            feed = Feed(tasks, settings, known, limits, budget)
            context = AttemptContext(source, job.store, settings, job.batch, scratch_of(job.config.engine, folder))
            return PassTotals(_attempt_all(job, context, feed, len(tasks), folder), feed.paused)


def _attempt_all(job: BatchJob, context: AttemptContext, feed: Feed, total: int, tmp: Path) -> int:
    """Run the attempts and append their rows as they end; return the number of attempts."""
    workers = min(context.config.workers, total)
    engine = make_engine(
        job.config.engine,
        workers=-(-workers // _THREADS),
        threads=min(workers, _THREADS),
        deadline_s=context.config.deadline_s,
        deadline_setting="download.deadline_s",
        eager=False,  # a refusal must be seen before the next video is asked for
        tmp=tmp,
        store=job.store,
        folders=(job.config.source.argument,) if job.config.source.kind == "folder" else (),
        here=job.config.source.kind == "arcade",  # its site is on this machine's loopback
    )
    writer = RowWriter(job.store)
    with Progress(f"download {job.batch}", total=total, unit="videos", on_progress=job.on_progress) as progress:
        try:
            for task, outcome in engine.run(partial(attempt, context=context), writer.flush_between(feed)):
                assert isinstance(task, DownloadTask)
                result: AttemptResult = outcome.value if outcome.ok else lost(task, outcome, context)
                writer.add(result.row, feed.finished(task, result))
                row = result.row
                progress.advance(note="" if row["state"] == "ok" else f"{row['error_class']}: {row['message'][:60]}")
        finally:
            writer.flush()  # also when interrupted: what is done is recorded
            job.store.sweep_unfinished(f"raw/{job.batch}")
    return writer.added


@contextmanager
def _work_folder(home: Home) -> Iterator[Path]:
    """Yield a folder for this process's attempts; remove those of processes that are gone."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch_folder(home.tmp, "download"))
        except OSError as exc:
            raise UserError(
                f"folder {str(home.tmp)!r} for unfinished downloads cannot be made: {exc.strerror}. Give this user "
                "write access to it, or choose another --root."
            ) from exc
        yield folder
