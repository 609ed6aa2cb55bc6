"""Runs whose process was killed are marked failed and hold nothing up."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.test_utils import create_run_for_test

from assets.passes.instance import HOST_TAG, open_instance, sweep_dead_workers, sweep_killed_runs
from pipeline.storage.home import Home

POOL = "downloads"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(Home(tmp_path)) as instance:
        instance.event_log_storage.set_concurrency_slots(POOL, 1)
        yield instance


@pytest.fixture(scope="module")
def dead_pid() -> int:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


def run_of(instance: dg.DagsterInstance, pid: int | None, status: dg.DagsterRunStatus) -> str:
    """Make a run that a process is said to work on, with a slot of the pool claimed or asked for."""
    run = create_run_for_test(instance, status=status)
    if pid is not None:
        data = EngineEventData(metadata={"pid": dg.MetadataValue.text(str(pid))})
        instance.report_engine_event("Started process for run", run, data)
    instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "step")
    return run.run_id


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING])
def test_a_killed_run_is_marked_failed_and_the_one_behind_it_gets_its_slot(
    instance: dg.DagsterInstance, dead_pid: int, status: dg.DagsterRunStatus
) -> None:
    killed = run_of(instance, dead_pid, status)
    behind = run_of(instance, os.getpid(), dg.DagsterRunStatus.STARTED)
    storage = instance.event_log_storage
    assert not storage.check_concurrency_claim(POOL, behind, "step").is_claimed
    assert sweep_dead_workers(instance) == [killed]
    assert status_of(instance, killed) == dg.DagsterRunStatus.FAILURE
    assert storage.claim_concurrency_slot(POOL, behind, "step").is_claimed
    said = [entry.message for entry in instance.all_logs(killed)]
    assert any("its process ended without finishing it (killed" in message for message in said), said
    assert sweep_dead_workers(instance) == []


def test_a_slot_that_a_finished_run_left_claimed_is_freed_once_its_process_is_gone(
    instance: dg.DagsterInstance, dead_pid: int
) -> None:
    # as Dagster's code server marks a run whose process was killed: the slot stays claimed for a minute
    finished = run_of(instance, dead_pid, dg.DagsterRunStatus.STARTED)
    run = instance.get_run_by_id(finished)
    assert run is not None
    instance.report_run_failed(run)
    assert sweep_dead_workers(instance) == []
    assert instance.event_log_storage.get_concurrency_run_ids() == set()
    ending = run_of(instance, os.getpid(), dg.DagsterRunStatus.CANCELED)
    sweep_dead_workers(instance)
    assert instance.event_log_storage.get_concurrency_run_ids() == {ending}, "its process may still be at work"


def test_runs_that_start_or_work_or_wait_are_left_alone(instance: dg.DagsterInstance, dead_pid: int) -> None:
    status = dg.DagsterRunStatus
    alone = [
        run_of(instance, os.getpid(), status.STARTED),
        run_of(instance, None, status.STARTED),
        run_of(instance, None, status.STARTING),
        run_of(instance, dead_pid, status.STARTING),
        run_of(instance, None, status.NOT_STARTED),
    ]
    before = [status_of(instance, run_id) for run_id in alone]
    assert sweep_dead_workers(instance) == []
    assert [status_of(instance, run_id) for run_id in alone] == before
    # at the start of a command nothing of this machine can be starting
    assert set(sweep_killed_runs(instance)) == set(alone[1:])


def test_where_a_postgres_is_shared_the_runs_of_other_machines_are_left_alone(
    instance: dg.DagsterInstance, dead_pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = {"status": dg.DagsterRunStatus.STARTED}
    mine = create_run_for_test(instance, tags={HOST_TAG: socket.gethostname()}, **begun)
    others = [create_run_for_test(instance, tags=tags, **begun) for tags in ({HOST_TAG: "another-machine"}, {})]
    for run in (mine, *others):
        data = EngineEventData(metadata={"pid": dg.MetadataValue.text(str(dead_pid))})
        instance.report_engine_event("Started process for run", run, data)
    monkeypatch.setenv("DAGSTER_PG_URL", "postgresql://127.0.0.1:1/dagster")
    assert sweep_dead_workers(instance) == []
    assert sweep_killed_runs(instance) == [mine.run_id]
    monkeypatch.delenv("DAGSTER_PG_URL")
    assert {*sweep_killed_runs(instance)} == {run.run_id for run in others}
