"""Dagster's retries of crashed runs, which wait for the code server.

A code server that is killed takes its runs with it, and is back seconds later. Dagster tries to start a failed run
again once; where the code server does not answer at that moment, the run is never started again. This daemon waits for
the server, for an hour (`LAMPWORKS_CODE_PATIENCE`, in seconds), and says so in the log of the run.

The daemon itself may be killed meanwhile. Its place in the event log is kept once all runs that it found there are
started: the next daemon finds the same runs, and Dagster starts none of them twice.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.errors import (
    DagsterCodeLocationLoadError,
    DagsterRunNotFoundError,
    DagsterUserCodeUnreachableError,
)
from dagster._core.events import EngineEventData
from dagster._core.storage.dagster_run import DagsterRunStatus, RunRecord
from dagster._core.storage.tags import WILL_RETRY_TAG
from dagster._core.workspace.context import BaseWorkspaceRequestContext, IWorkspaceProcessContext
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import (
    get_automatically_retried_run_if_exists,
    retry_run,
    should_retry,
)
from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon
from dagster._daemon.utils import DaemonErrorCapture

from assets.cli.services.places import code_patience_s
from assets.passes.postgres import why_it_failed
from pipeline.outside import shown_text

PAUSE_S = 1.0

Context = IWorkspaceProcessContext[BaseWorkspaceRequestContext]
Handler = Callable[[Context, Sequence[RunRecord], logging.Logger], Iterator[None]]


class PatientRetries(EventLogConsumerDaemon):
    """Dagster's daemon of retries, which tries again where the code server does not answer."""

    @property
    def handle_updated_runs_fns(self) -> Sequence[Handler]:
        """Return what is called with the runs that ended."""
        return [start_crashed_runs_again]


@dataclass
class _Absence:
    """One absence of the code server, as the runs of one look meet it."""

    since: float | None = None
    told: set[str] = field(default_factory=set)

    def seconds(self) -> float:
        if self.since is None:
            self.since = time.monotonic()
        return time.monotonic() - self.since


def start_crashed_runs_again(
    context: Context, run_records: Sequence[RunRecord], logger: logging.Logger
) -> Iterator[None]:
    """Start each run again that crashed; yields meanwhile, so that the daemon can report that it lives."""
    absence = _Absence()
    for record in run_records:
        yield
        while not _is_settled(context, record.dagster_run.run_id, absence, logger):
            time.sleep(PAUSE_S)
            yield


def _is_settled(context: Context, run_id: str, absence: _Absence, logger: logging.Logger) -> bool:
    """Try to start a run again; return False where that must be tried once more."""
    try:
        # read again each time: the run may be deleted meanwhile, or its backfill cancelled
        run = context.instance.get_run_by_id(run_id)
        if run is None or not should_retry(run, context.instance):
            return True
        try:
            retry_run(run, context)
        except (DagsterUserCodeUnreachableError, DagsterCodeLocationLoadError) as exc:
            return _is_given_up(context.instance, run, absence, exc)
        except Exception as exc:  # as Dagster does: whatever it is, other runs go on
            if why_it_failed(exc):
                raise
            _give_up(context.instance, run, "Failed to retry run", logger)
            return True
    except Exception as exc:
        if (why := why_it_failed(exc)) is None:
            raise
        logger.warning("a crashed run is started again later: %s", why)
        return False
    absence.since = None
    return True


def _is_given_up(instance: dg.DagsterInstance, run: dg.DagsterRun, absence: _Absence, exc: Exception) -> bool:
    """Say that a run waits for the code server; return True where it has waited for long enough."""
    patience = code_patience_s()
    why = shown_text(" ".join(str(exc).split())[:300])
    if absence.seconds() > patience:
        text = (
            f"Not started again: the code server did not answer for {patience:g} s ({why}). Start it with `lampworks "
            "services`; then start this run on its page: Re-execute, From failure."
        )
        _give_up(instance, run, text)
        return True
    if run.run_id not in absence.told:
        absence.told.add(run.run_id)
        text = f"Starts again once the code server answers, which is waited for {patience:g} s: {why}"
        instance.report_engine_event(text, run)
    return False


def _give_up(instance: dg.DagsterInstance, run: dg.DagsterRun, text: str, logger: logging.Logger | None = None) -> None:
    """Write why a run is not started again, and mark it so."""
    error = None
    if logger is not None:
        message = f"{text} {run.run_id}"
        error = DaemonErrorCapture.process_exception(exc_info=sys.exc_info(), logger=logger, log_message=message)
    instance.report_engine_event(text, run, engine_event_data=EngineEventData(error=error))
    _cancel_begun_retry(instance, run)
    instance.add_run_tags(run.run_id, {WILL_RETRY_TAG: "false"})


def _cancel_begun_retry(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Cancel the retry that was made and never queued, as where the code server ended in between: nobody starts it."""
    try:
        group = instance.get_run_group(run.run_id)
    except DagsterRunNotFoundError:  # the first run of the group was deleted
        return
    retry = get_automatically_retried_run_if_exists(instance, run, list(group[1]) if group is not None else [])
    if retry is not None and retry.status == DagsterRunStatus.NOT_STARTED:
        instance.report_run_canceled(retry, f"Never queued: run {run.run_id}, which it repeats, says why.")
