"""A code server notices a run that died while the database was away, once it is back."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import dagster as dg
import dagster._grpc.server as dagster_server
import pytest
from dagster._core.test_utils import create_run_for_test, instance_for_test
from sqlalchemy.exc import OperationalError

from assets.cli.services.code_server import PatientServer


def test_a_run_that_died_while_the_database_was_away_is_marked_failed_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with instance_for_test() as instance:  # in a folder: one in memory is another one for each connection
        run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
        server: Any = object.__new__(PatientServer)
        server._execution_lock = threading.Lock()
        server._executions = {run.run_id: (SimpleNamespace(is_alive=lambda: False, exitcode=-9), None)}
        server._termination_events, server._termination_times = {run.run_id: threading.Event()}, {}
        server._shutdown_once_executions_finish_event = threading.Event()

        def away(ref: object) -> dg.DagsterInstance:
            raise OperationalError("SELECT 1", {}, Exception("connection refused"))

        monkeypatch.setattr(dagster_server.DagsterInstance, "from_ref", away)
        server._check_for_orphaned_runs()
        assert run.run_id in server._executions
        monkeypatch.setattr(dagster_server.DagsterInstance, "from_ref", lambda ref: nullcontext(instance))
        server._check_for_orphaned_runs()
        assert server._executions == {}
        found = instance.get_run_by_id(run.run_id)
        assert found is not None
        assert found.status == dg.DagsterRunStatus.FAILURE
