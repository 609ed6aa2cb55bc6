"""Trainings that go on while `lampworks ui` is stopped and started again: each run in a process of its own.

Dagster's own launcher makes a run a child of its code server, so it ends with the pages. A training may take a month:
its process is in a session of its own, writes to a file, and is found by its id and start. Terminate reaches it from
any later start of the pages. All other runs are launched as Dagster does.

`dagster.yaml` names the class:

    run_launcher: {module: assets.passes.training_runs, class: TrainingRunLauncher}
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import dagster as dg
import psutil
from dagster._core.events import EngineEventData
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, LaunchRunContext, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClassData, serialize_value

from assets.graph.jobs import JOBS
from assets.passes.lock import HELD, TRAINING

PROCESS_TAG = "lampworks/process"
"""Tag of a run with a process of its own: its id and the moment at which it began."""
_MAKES = frozenset(JOBS["train_world_model"])
_MAY_MAKE = _MAKES | {*JOBS["encode_tokens"], *JOBS["evaluate"]}


class TrainingRunLauncher(DefaultRunLauncher):
    """Launches trainings apart from the pages, and all other runs as Dagster's own launcher does."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """Return the launcher that `dagster.yaml` names."""
        return cls(inst_data=inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start a run's process."""
        run = context.dagster_run
        if not is_training(run):
            super().launch_run(context)
            return
        instance = self._instance
        assert run.job_code_origin is not None
        asked = serialize_value(ExecuteRunArgs(run.job_code_origin, run.run_id, instance.get_ref()))
        # not the command `dagster`, which need not be on the path
        command = [sys.executable, "-m", "dagster", "api", "execute_run"]
        output = Path(instance.root_directory) / "training" / f"{run.run_id}.log"
        output.parent.mkdir(parents=True, exist_ok=True)
        # the process imports from the folder it runs in too, so that is one without modules. PYTHONSAFEPATH would not
        # do: Dagster removes the first entry of the path, which it takes for that folder
        with output.open("ab") as file:
            process = subprocess.Popen(
                command, env=_environment(asked), cwd=output.parent, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip
        instance.add_run_tags(run.run_id, {PROCESS_TAG: _named(process.pid)})
        instance.report_engine_event(
            f"The training has a process of its own ({process.pid}), which goes on while the pages are stopped; it "
            f"writes to {output}.",
            run,
            EngineEventData.in_process(process.pid),
        )

    def terminate(self, run_id: str) -> bool:
        """Ask a run to end; return whether there was one to ask. A training saves its state first."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or PROCESS_TAG not in run.tags:
            return bool(super().terminate(run_id))
        process = process_of(run)
        if process is None:
            return False
        self._instance.report_run_canceling(run)
        process.send_signal(signal.SIGTERM)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Return that Dagster may ask whether a run's process lives."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether the process of a training lives; Dagster's own launcher does not look at the others."""
        if PROCESS_TAG not in run.tags or process_of(run) is not None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its process ended without finishing it")


def is_training(run: dg.DagsterRun) -> bool:
    """Tell whether a run trains, and does nothing but what follows from the training shards."""
    chosen = run.asset_selection
    made = {key.to_user_string() for key in chosen} if chosen else set(JOBS.get(run.job_name, ()))
    return bool(made & _MAKES) and made <= _MAY_MAKE


def process_of(run: dg.DagsterRun) -> psutil.Process | None:
    """Return the process of a training; None where it has ended, also where another has its number by now."""
    with suppress(psutil.Error, ValueError):
        number, _, began = run.tags[PROCESS_TAG].partition(" ")
        process = psutil.Process(int(number))
        if f"{process.create_time():.2f}" == began and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _named(pid: int) -> str:
    try:
        return f"{pid} {psutil.Process(pid).create_time():.2f}"
    except psutil.Error:  # it has ended at once; its log says why
        return f"{pid} 0"


def _environment(asked: str) -> dict[str, str]:
    """Return the environment of a training: what it runs, and another mark than that of what ends with the pages."""
    environment = {name: value for name, value in os.environ.items() if name != HELD}
    home = os.environ.get(HELD)
    # it names Dagster's storage, perhaps with a password: every user of the machine sees a command line
    environment["DAGSTER_EXECUTE_RUN_ARGS"] = asked
    return {**environment, **({TRAINING: home} if home else {})}
