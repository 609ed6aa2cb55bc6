"""In a deployment a run lives as long as its code server, the run around it or this machine says so."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.test_utils import create_run_for_test
from dagster._grpc.types import CanCancelExecutionResult
from dagster._serdes import serialize_value

from assets.passes.deployed_runs import DeployedRunLauncher
from assets.passes.instance import HOST_TAG, PARENT_TAG

STARTED = dg.DagsterRunStatus.STARTED


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def health(instance: dg.DagsterInstance, tags: dict[str, str], pid: int | None = None) -> WorkerStatus:
    launcher = DeployedRunLauncher()
    launcher.register_instance(instance)
    run = create_run_for_test(instance, status=STARTED, tags=tags)
    if pid is not None:
        data = EngineEventData(metadata={"pid": dg.MetadataValue.text(str(pid))})
        instance.report_engine_event("Started process for run", run, data)
    return launcher.check_run_worker_health(run).status


def test_the_code_server_knows_whether_a_run_lives(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster._grpc.client import DagsterGrpcClient

    tags = {GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": 9})}
    for lives, status in ((True, WorkerStatus.RUNNING), (False, WorkerStatus.NOT_FOUND)):
        answer = serialize_value(CanCancelExecutionResult(can_cancel=lives))

        def answers(*given: Any, told: str = answer, **options: Any) -> str:
            return told

        monkeypatch.setattr(DagsterGrpcClient, "can_cancel_execution", answers)
        assert health(instance, tags) == status


def test_a_code_server_that_does_not_answer_ends_no_run(instance: dg.DagsterInstance) -> None:
    tags = {GRPC_INFO_TAG: json.dumps({"socket": "/nowhere/at/all"})}
    assert health(instance, tags) == WorkerStatus.RUNNING


def test_a_run_inside_another_one_ends_with_it(instance: dg.DagsterInstance) -> None:
    around = create_run_for_test(instance, status=STARTED)
    tags = {PARENT_TAG: around.run_id, HOST_TAG: "another-machine"}
    assert health(instance, tags) == WorkerStatus.RUNNING
    instance.report_run_failed(around)
    assert health(instance, tags) == WorkerStatus.NOT_FOUND


def test_a_run_of_a_command_is_looked_for_on_its_own_machine_alone(instance: dg.DagsterInstance) -> None:
    gone = 2**22 + 1  # no process has such a number
    here, elsewhere = {HOST_TAG: socket.gethostname()}, {HOST_TAG: "another-machine"}
    assert health(instance, here, os.getpid()) == WorkerStatus.RUNNING
    assert health(instance, here, gone) == WorkerStatus.NOT_FOUND
    assert health(instance, elsewhere, gone) == WorkerStatus.RUNNING
    assert health(instance, {}, gone) == WorkerStatus.RUNNING
