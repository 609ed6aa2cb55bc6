"""Why a queued run waits, as a line in its own log: which run has the place that it needs.

Dagster's queue holds a run back without a word where its pool is full, or where as many runs work as may.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

_AT_WORK = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def say_why_runs_wait(instance: dg.DagsterInstance, said: dict[str, str]) -> None:
    """Write into the log of every queued run why it waits, once for each reason.

    Args:
        instance: the root's own.
        said: run id -> the reason that was written last; this function keeps it.
    """
    queued = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]))
    for run_id in said.keys() - {run.run_id for run in queued}:
        del said[run_id]
    if not queued:
        return
    at_work = instance.get_runs(dg.RunsFilter(statuses=_AT_WORK))
    for run in queued:
        reason = _full_pool(instance, run) or _full_queue(instance, at_work)
        if reason and said.get(run.run_id) != reason:
            said[run.run_id] = reason
            instance.report_engine_event(reason, run)


def _full_pool(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str | None:
    needed = run.run_op_concurrency.root_key_counts if run.run_op_concurrency else {}
    for pool in sorted(needed):
        info = instance.event_log_storage.get_concurrency_info(pool)
        holders = sorted({slot.run_id for slot in info.claimed_slots} - {run.run_id})
        if holders and len(info.claimed_slots) >= info.slot_count:
            names = ", ".join(_named(instance.get_run_by_id(run_id), run_id) for run_id in holders)
            slots = "1 slot" if info.slot_count == 1 else f"{info.slot_count} slots"
            return f"Waits for the pool {pool!r}, which has {slots} (Deployment, Concurrency): {names} at work there."
    return None


def _full_queue(instance: dg.DagsterInstance, at_work: Sequence[dg.DagsterRun]) -> str | None:
    limit = instance.get_concurrency_config().run_queue_config
    most = limit.max_concurrent_runs if limit else -1
    if most < 0 or len(at_work) < most:
        return None
    names = ", ".join(_named(run, run.run_id) for run in at_work)
    return f"Waits in the queue: {most} runs may work at a time (max_concurrent_runs in dagster.yaml), now {names}."


def _named(run: dg.DagsterRun | None, run_id: str) -> str:
    if run is None:
        return f"run {run_id[:8]}, which was deleted"
    batch = run.tags.get("dagster/partition")
    return f"run {run_id[:8]} ({run.job_name}{f' of {batch}' if batch else ''})"
