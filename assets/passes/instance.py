"""The Dagster home of a root: made when it is first needed, swept of runs that were killed.

One home per root (`<home>/dagster`), so that `lampworks ui` shows that root's own runs, checks and charts.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import psutil

from pipeline.storage.home import Home

TEMPLATE = Path(__file__).parents[1] / "dagster.yaml"
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def prepare_home(home: Home) -> Path:
    """Make the root's DAGSTER_HOME with its dagster.yaml (kept if it was edited) and return it."""
    home.dagster.mkdir(parents=True, exist_ok=True)
    settings = home.dagster / "dagster.yaml"
    if not settings.exists():
        settings.write_text(TEMPLATE.read_text("utf-8"), "utf-8")
    return home.dagster


@contextmanager
def open_instance(home: Home) -> Iterator[dg.DagsterInstance]:
    """Yield the root's instance for runs in this process; killed runs of before are marked failed first."""
    from dagster._core.instance.ref import InstanceRef

    # steps of this process write to this terminal: Dagster's capture would hide the progress display
    quiet = {
        "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    }
    # an interrupt may arrive while a connection closes: the pool would log a traceback
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        instance = dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(prepare_home(home)), overrides=quiet))
    with instance:
        yield instance


def sweep_killed_runs(instance: dg.DagsterInstance, keep: str | None = None) -> list[str]:
    """Mark runs whose process is gone as failed, free their pool slots, and return their ids.

    A killed process leaves its run STARTED and its slot claimed: without this the next step of that pool waits for
    ever. A run whose process lives (a `dagster dev` on the same home) is left alone, as is `keep`.
    """
    swept = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        if run.run_id == keep or _lives(instance, run):
            continue
        instance.report_run_failed(run, "its process ended without finishing it (killed, or the machine went down)")
        swept.append(run.run_id)
    alive = {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED))} | {keep}
    storage = instance.event_log_storage
    if storage.supports_global_concurrency_limits:
        for run_id in storage.get_concurrency_run_ids() - alive:
            storage.free_concurrency_slots_for_run(run_id)
    return swept


def _lives(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        value = entry.dagster_event.engine_event_data.metadata.get("pid") if entry.dagster_event else None
        # a process that began after the event that names it only inherited the number
        with suppress(psutil.Error, TypeError, ValueError):
            if value is not None and psutil.Process(int(str(value.value))).create_time() <= entry.timestamp + 1:
                return True
    return False
