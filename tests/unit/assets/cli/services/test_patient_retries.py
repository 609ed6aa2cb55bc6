"""A run that crashed is started again once the code server answers, whenever that is."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg
import dagster._daemon  # first: its parts import each other
import pytest
from dagster._cli.job import _create_run
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.storage.tags import WILL_RETRY_TAG
from dagster._core.test_utils import instance_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.utils import FuturesAwareThreadPoolExecutor
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._grpc.server import DagsterApiServer, DagsterGrpcServer

from assets.cli.services import patient_retries
from assets.cli.services.health import why_no_code
from assets.cli.services.patient_retries import PatientRetries
from assets.cli.services.places import PATIENCE, code_patience_s
from pipeline.errors import UserError
from tests.dagster_ui import wait_for

# Dagster's own, where the daemon of a new deployment looks for the first time
pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning"),
    pytest.mark.timeout(300),
]
GRAPH = """
import dagster as dg

@dg.op
def step(): pass

@dg.job
def work(): step()

defs = dg.Definitions(jobs=[work])
"""
LOOKS = 50_000
"""More looks than any daemon of these tests takes."""


class Graph:
    """A graph of one job with a code server that comes and goes, and the daemon's view of it."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.instance, self.socket = instance, str(folder / "code")
        self._file = folder / "graph.py"
        self._file.write_text(GRAPH)
        with self.code_server():
            target = GrpcServerTarget(host="localhost", port=None, socket=self.socket, location_name="work")
            self.context = WorkspaceProcessContext(instance, target, version=dg.__version__)
            location = self.context.create_request_context().get_code_location("work")
            [repository] = location.get_repositories().values()
            job = repository.get_full_job("work")
            self.run = _create_run(instance, location, repository, job, {}, None, None, None)

    @contextmanager
    def code_server(self) -> Iterator[None]:
        """Have a code server for a while, at the same place each time."""
        Path(self.socket).unlink(missing_ok=True)
        ended, pool = threading.Event(), FuturesAwareThreadPoolExecutor(max_workers=4)
        origin = LoadableTargetOrigin(python_file=str(self._file), attribute="defs")
        api = DagsterApiServer(ended, logging.getLogger("code"), pool, origin, location_name="work")
        server = DagsterGrpcServer(ended, api, logging.getLogger("code"), pool, socket=self.socket)
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        try:
            wait_for(lambda: why_no_code(self.socket) is None, 20)
            yield
        finally:
            ended.set()
            thread.join(20)
            pool.shutdown()

    def crash(self) -> None:
        self.instance.report_run_failed(self.run, "its process ended without finishing it, and so did its code server")

    def look(self, daemon: PatientRetries, times: int) -> bool:
        """Have a daemon look so many times; return whether it is done with what it found."""
        looks = daemon.run_iteration(self.context)
        taken = sum(1 for _ in islice(looks, times))
        looks.close()
        return taken < times

    def started_again(self) -> list[dg.DagsterRun]:
        return [run for run in self.instance.get_runs() if run.parent_run_id == self.run.run_id]

    def said(self) -> str:
        return "\n".join(entry.message for entry in self.instance.all_logs(self.run.run_id))


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[Graph]:
    monkeypatch.setattr(patient_retries, "PAUSE_S", 0.01)
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # the path of a socket is short
    retries = {"enabled": True, "max_retries": 3, "retry_on_asset_or_op_failure": False}
    queue = {"module": "dagster", "class": "QueuedRunCoordinator"}
    with instance_for_test({"run_retries": retries, "run_coordinator": queue}) as instance:
        found = Graph(folder, instance)
        with found.context:
            # a daemon's first look only notes where the events end
            assert found.look(PatientRetries(), LOOKS)
            yield found
    shutil.rmtree(folder)


def test_a_crashed_run_waits_for_its_code_server_and_starts_again_once(graph: Graph) -> None:
    graph.crash()
    assert not graph.look(PatientRetries(), 8)
    assert "Starts again once the code server answers" in graph.said()
    assert graph.said().count("Starts again once") == 1
    # that daemon is gone; its successor finds the run, and waits as well
    assert not graph.look(PatientRetries(), 8)
    assert graph.started_again() == []
    with graph.code_server():
        assert graph.look(PatientRetries(), LOOKS)
        [again] = graph.started_again()
        assert again.status == dg.DagsterRunStatus.QUEUED
        assert graph.look(PatientRetries(), LOOKS)
    assert graph.started_again() == [again]


@pytest.mark.slow
def test_a_code_server_that_ends_again_meanwhile_is_waited_for_again(graph: Graph) -> None:
    graph.crash()

    def ended_in_between(*given: Any, **options: Any) -> dg.DagsterRun:
        ends.undo()
        raise DagsterUserCodeUnreachableError("Could not reach user code server")

    with graph.code_server(), pytest.MonkeyPatch.context() as ends:
        ends.setattr(graph.instance, "create_reexecuted_run", ended_in_between)
        assert graph.look(PatientRetries(), LOOKS)
    assert "Starts again once" in graph.said()
    assert len(graph.started_again()) == 1


@pytest.mark.slow
def test_a_code_server_that_never_comes_back_is_named_in_the_log_of_the_run(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PATIENCE, "0")
    graph.crash()
    assert graph.look(PatientRetries(), LOOKS)
    assert "Not started again: the code server did not answer for 0 s" in graph.said()
    run = graph.instance.get_run_by_id(graph.run.run_id)
    assert run is not None
    assert run.tags[WILL_RETRY_TAG] == "false"
    # as the sentence says
    with graph.code_server():
        wait_for(lambda: graph.context.create_request_context().has_code_location("work"), 60)
        assert graph.look(PatientRetries(), LOOKS)
        assert graph.started_again() == []
        assert re_executed(graph) == "LaunchRunSuccess"
    assert len(graph.started_again()) == 1


@pytest.mark.slow
def test_a_retry_that_was_made_and_never_queued_is_cancelled_where_its_run_is_given_up(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph.crash()

    def ended_in_between(*given: Any, **options: Any) -> dg.DagsterRun:
        monkeypatch.setenv(PATIENCE, "0")
        raise DagsterUserCodeUnreachableError("Could not reach user code server")

    monkeypatch.setattr(graph.instance, "submit_run", ended_in_between)
    with graph.code_server():
        assert graph.look(PatientRetries(), LOOKS)
    assert "Not started again" in graph.said()
    [retry] = graph.started_again()
    assert retry.status == dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize("said", ["1h", "-1", "nan", "inf"])
def test_a_patience_that_is_no_number_is_refused_before_the_daemon_starts(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PATIENCE, said)
    with pytest.raises(UserError, match=f"LAMPWORKS_CODE_PATIENCE = '{said}': expected a number of seconds"):
        code_patience_s()
    for accepted, seconds in (("", 3600.0), ("90", 90.0)):
        monkeypatch.setenv(PATIENCE, accepted)
        assert code_patience_s() == seconds


def re_executed(graph: Graph) -> str:
    """Do what the page of the run does at "Re-execute, From failure"."""
    from dagster_graphql.schema import create_schema

    query = """mutation($id: String!) {launchRunReexecution(
        reexecutionParams: {parentRunId: $id, strategy: FROM_FAILURE}) {__typename ... on PythonError {message}}}"""
    context = graph.context.create_request_context()
    done = asyncio.run(create_schema().execute_async(query, variables={"id": graph.run.run_id}, context=context))
    assert done.data is not None, done.errors
    return str(done.data["launchRunReexecution"]["__typename"])


@pytest.mark.slow
def test_a_run_that_was_deleted_while_it_waited_is_left_alone(graph: Graph) -> None:
    graph.crash()
    looks = PatientRetries().run_iteration(graph.context)
    for _ in islice(looks, 8):
        pass
    graph.instance.delete_run(graph.run.run_id)
    assert sum(1 for _ in islice(looks, LOOKS)) < LOOKS
    assert graph.started_again() == []
