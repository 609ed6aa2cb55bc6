"""The run launcher of a deployment, where daemon, web server and code server may be on several machines.

Dagster's own launcher asks the code server to start and to end a run, and never whether it lives. So a run whose
process is killed, or whose code server is started again, would be STARTED for ever. This one asks: the daemon then
marks such a run as failed, and starts it again (`run_retries` in `dagster.yaml`).

A pass (`lampworks run`, the schedule) launches runs in its own process, which no code server knows. They carry the name
of their machine, or the run that they belong to.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any, Self

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, LaunchRunContext, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import ConfigurableClassData, deserialize_value

from assets.passes.instance import HOST_TAG, PARENT_TAG, pids_of, process_lives

_ANSWER_S = 10
_LIVES = CheckRunHealthResult(WorkerStatus.RUNNING)


class DeployedRunLauncher(DefaultRunLauncher):
    """Launches runs as Dagster does, and finds out whether they live."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """Return the launcher that `dagster.yaml` names."""
        return cls(inst_data=inst_data)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Return that Dagster may ask whether a run's process lives."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether a run's process lives; one that nobody can be asked about is taken to live."""
        if GRPC_INFO_TAG in run.tags:
            return self._as_its_server_says(run)
        parent = run.tags.get(PARENT_TAG)
        if parent is not None:
            found = self._instance.get_run_by_id(parent)
            if found is None or found.is_finished:
                return _gone(f"the run that launched it ({parent[:8]}) has ended")
        elif self._is_gone_here(run):
            return _gone("its process ended without finishing it")
        return _LIVES

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run, and note this machine where its code server has a socket: the next start has another one."""
        super().launch_run(context)
        run = self._instance.get_run_by_id(context.dagster_run.run_id)
        if run is not None and json.loads(run.tags.get(GRPC_INFO_TAG, "{}")).get("socket"):
            self._instance.add_run_tags(run.run_id, {HOST_TAG: socket.gethostname()})

    def _is_gone_here(self, run: dg.DagsterRun) -> bool:
        """Tell whether the process of a run of this machine has ended; a run has none in its first moment."""
        is_mine = run.tags.get(HOST_TAG) == socket.gethostname()
        return is_mine and bool(pids_of(self._instance, run)) and not process_lives(self._instance, run)

    def _as_its_server_says(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        from dagster._grpc.client import DagsterGrpcClient

        known = json.loads(run.tags[GRPC_INFO_TAG])
        client = DagsterGrpcClient(
            host=known.get("host"), port=known.get("port"), socket=known.get("socket"),
            use_ssl=bool(known.get("use_ssl", False)),
        )  # fmt: skip
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=_ANSWER_S)
        except DagsterUserCodeUnreachableError:
            if self._is_gone_here(run):
                return _gone("its process ended without finishing it, and so did its code server")
            # it may be on the way back, and knows then
            return _LIVES
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return _LIVES
        return _gone("its code server does not know it (any more): its process was killed, or the server started again")


def _gone(why: str) -> CheckRunHealthResult:
    return CheckRunHealthResult(WorkerStatus.NOT_FOUND, why)
