"""The Dagster home of a root: made when it is first needed, swept of runs that were killed.

One home per root (`<home>/dagster`), so that `lampworks ui` shows that root's own runs, checks and charts.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import psutil
from sqlalchemy.exc import DatabaseError

from assets.passes.postgres import PG_URL, check_postgres, postgres_url
from pipeline.errors import UserError
from pipeline.storage.home import Home

TEMPLATE = Path(__file__).parents[1] / "dagster.yaml"
POSTGRES_TEMPLATE = Path(__file__).parents[1] / "dagster-postgres.yaml"
HOST_TAG = "lampworks/host"
"""Tag of a run in a process of a command: the machine it is on."""
PARENT_TAG = "lampworks/parent"
"""Tag of a run in the process of another run: the id of that one."""
_EARLIER = {
    "48e96f3b0c316aecc27b7f82edef196879eeb6b06cb1974f2aefe0f2aa27bc2c",
    "697a994d4e95b98c449b236e66d209639638e1ac6c15596b7fa45385feb4ea35",
}
"""SHA-256 of what earlier versions wrote there."""
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_DAMAGED = ("malformed", "not a database")
"""What SQLite says of a file that is damaged."""
_AT_WORK = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def prepare_home(home: Home) -> Path:
    """Make the root's DAGSTER_HOME with its dagster.yaml (kept if it was edited) and return it.

    Raises:
        UserError: the file there and the environment disagree on whether Dagster keeps its runs in a Postgres.
    """
    on_postgres = postgres_url() is not None
    wanted, other = (POSTGRES_TEMPLATE, TEMPLATE) if on_postgres else (TEMPLATE, POSTGRES_TEMPLATE)
    home.dagster.mkdir(parents=True, exist_ok=True)
    settings = home.dagster / "dagster.yaml"
    if not settings.exists():
        settings.write_text(wanted.read_text("utf-8"), "utf-8")
        return home.dagster
    present = settings.read_bytes()
    if PG_URL.encode() in present and not on_postgres:
        raise UserError(
            f"{settings} keeps Dagster's runs in a Postgres: set {PG_URL} to its address, or delete the file, and "
            "`lampworks reconcile` reports to a database in the home what the store holds"
        )
    is_ours = hashlib.sha256(present).hexdigest() in _EARLIER or (on_postgres and present == other.read_bytes())
    if is_ours:
        settings.write_text(wanted.read_text("utf-8"), "utf-8")
    elif on_postgres and PG_URL.encode() not in present:
        raise UserError(
            f"{PG_URL} is set, and {settings}, which was edited, does not use it: take over the section `storage` of "
            f"{POSTGRES_TEMPLATE}, or unset {PG_URL}"
        )
    return home.dagster


def what_an_edited_home_lacks(home: Home) -> str | None:
    """Return what to add to a dagster.yaml that was edited before trainings went on without the pages; else None."""
    lines = TEMPLATE.read_text("utf-8").splitlines()
    launcher = next(line for line in lines if line.startswith("run_launcher:"))
    settings = home.dagster / "dagster.yaml"
    if "run_launcher" in settings.read_text("utf-8") or postgres_url() is not None:
        return None
    return f"trainings end with these pages: to have them go on, add to {settings} the line `{launcher}`"


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
    folder = prepare_home(home)
    check_postgres()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            instance = dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), overrides=quiet))
        with instance:
            yield instance
    except DatabaseError as exc:
        if not any(text in str(exc) for text in _DAMAGED):
            raise
        raise UserError(
            f"Dagster's database in {home.dagster} is damaged ({exc.orig}): move that folder away, and run "
            "`lampworks reconcile`, which reports to a new one what the store holds. The data are not concerned."
        ) from exc


def sweep_killed_runs(instance: dg.DagsterInstance, keep: str | None = None) -> list[str]:
    """Mark runs whose process is gone as failed, free their pool slots, and return their ids; before any run starts.

    A killed process leaves its run STARTED and its slot claimed: without this the next step of that pool waits for
    ever. A run whose process lives (a `dagster dev` on the same home) is left alone, as is `keep`. So are runs of other
    machines, where a Postgres is shared with these.
    """
    swept = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        if run.run_id != keep and _is_of_this_machine(run) and not process_lives(instance, run):
            _mark_killed(instance, run)
            swept.append(run.run_id)
    alive = {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED))} | {keep}
    storage = instance.event_log_storage
    if storage.supports_global_concurrency_limits:
        for run_id in storage.get_concurrency_run_ids() - alive:
            storage.free_concurrency_slots_for_run(run_id)
    return swept


def sweep_dead_workers(instance: dg.DagsterInstance) -> list[str]:
    """Do the same while other runs start and work: a run that has no process yet is left alone.

    Dagster itself notices a killed run only while the code server that started it lives, and frees its slot a minute
    later. Meanwhile the runs behind it wait for a reason that nobody sees. With a Postgres the daemon asks the code
    servers instead (`assets.passes.deployed_runs`): the run may be another machine's.
    """
    swept = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_AT_WORK)):
        if postgres_url() is None and pids_of(instance, run) and not process_lives(instance, run):
            _mark_killed(instance, run)
            swept.append(run.run_id)
    storage = instance.event_log_storage
    if storage.supports_global_concurrency_limits:
        for run_id in storage.get_concurrency_run_ids():
            holder = instance.get_run_by_id(run_id)
            if holder is None or (holder.is_finished and not process_lives(instance, holder)):
                storage.free_concurrency_slots_for_run(run_id)
    return swept


def _mark_killed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    instance.report_run_failed(run, "its process ended without finishing it (killed, or the machine went down)")


def _is_of_this_machine(run: dg.DagsterRun) -> bool:
    """Tell whether a run's process is, or was, one of this machine."""
    return postgres_url() is None or run.tags.get(HOST_TAG) == socket.gethostname()


def process_lives(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Tell whether a process of this machine that worked on a run lives."""
    for pid, named_at in pids_of(instance, run):
        # a process that began after the event that names it only inherited the number
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.create_time() <= named_at + 1 and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def pids_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[tuple[int, float]]:
    """Return the processes that worked on a run, with the time at which each was named."""
    found = []
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        value = entry.dagster_event.engine_event_data.metadata.get("pid") if entry.dagster_event else None
        with suppress(TypeError, ValueError):
            if value is not None:
                found.append((int(str(value.value)), entry.timestamp))
    return found
