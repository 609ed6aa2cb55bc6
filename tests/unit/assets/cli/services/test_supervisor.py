"""Services are kept alive, their lines carry their names, and nothing of them outlives the command."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from assets.cli.services.lifetime import mark_of_this_process, processes_of
from assets.cli.services.supervisor import Service, Supervisor, json_line
from tests.dagster_ui import wait_for

SLEEPS = "print('at work', flush=True); import time; time.sleep(60)"
STARTS_ANOTHER = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPS!r}]); {SLEEPS}"


@contextmanager
def supervised(*codes: str, as_json: bool = False) -> Iterator[list[Service]]:
    services = [
        Service(f"service{index}", [sys.executable, "-S", "-c", code], {"PATH": ""}, ())
        for index, code in enumerate(codes)
    ]
    supervisor = Supervisor(services, as_json=as_json)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        yield services
    finally:
        supervisor.stop()
        thread.join()
        supervisor.end(5)


def pids(role: str) -> set[int]:
    return {process.pid for process in processes_of(mark_of_this_process(), role)}


def test_a_service_that_is_killed_starts_again_without_what_it_had_started_and_the_others_go_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with supervised(STARTS_ANOTHER, SLEEPS) as services:
        wait_for(lambda: len(pids("service0")) == 2 and pids("service1"), 30)
        before, other = pids("service0"), pids("service1")
        services[0].pause_s = 0.1
        assert services[0].process is not None
        services[0].process.send_signal(signal.SIGKILL)
        wait_for(lambda: len(pids("service0") - before) == 2, 30)
        assert not pids("service0") & before, "a run that nobody knows would go on"
        assert pids("service1") == other
        assert services[0].pause_s == 0.2, "one that ends soon waits longer each time"
    assert processes_of(mark_of_this_process()) == []
    assert "service1 | at work\n" in capsys.readouterr().out


def test_every_line_of_a_service_is_one_json_object_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    said = 'import sys; print(\'plain\'); print(\'{"event": "e", "level": "warning"}\'); sys.stdout.flush(); 1 / 0'
    lines: list[str] = []

    def is_said() -> bool:
        lines.append(capsys.readouterr().out)
        return "ZeroDivisionError" in "".join(lines)

    with supervised(said, as_json=True):
        wait_for(is_said, 30)
    records = [json.loads(line) for line in "".join(lines).splitlines()]
    assert {record["service"] for record in records} == {"service0"}
    assert [record["message"] for record in records][:2] == ["plain", "e"]
    assert records[1]["level"] == "WARNING"


def test_a_line_keeps_its_values_and_shows_no_password() -> None:
    given = {
        "timestamp": "2026-11-26T10:00:00Z",
        "level": "error",
        "event": "http://me:secret@h/x",
        "a": 1,
    }
    found = json.loads(json_line("daemon", json.dumps(given)))
    assert found == {
        "time": "2026-11-26T10:00:00Z", "level": "ERROR", "service": "daemon", "message": "http://h/x", "a": 1
    }  # fmt: skip
    assert json.loads(json_line("code", "\x1b[32m2026\x1b[0m started"))["message"] == "2026 started"
    assert json.loads(json_line("code", "[1, 2]"))["message"] == "[1, 2]"


def test_a_line_of_a_run_names_the_run_and_the_step() -> None:
    run = "c1fdbb70-bf6d-4409-bf18-9d32fe12ff5e"
    begin = f"2026-11-26 21:54:18 +0000 - dagster - DEBUG - discover - {run} - "
    found = [json.loads(json_line("code", begin + rest)) for rest in (
        "29915 - RUN_START - Started execution of run for \"discover\".",
        "29915 - search_results - STEP_START - Started execution of step \"search_results\".",
        "search_results - search: 2 videos - all new",
    )]  # fmt: skip
    assert [record["run_id"] for record in found] == [run] * 3
    assert [record.get("step") for record in found] == [None, "search_results", "search_results"]
    assert found[0]["message"] == 'RUN_START - Started execution of run for "discover".'
    assert found[2]["message"] == "search: 2 videos - all new"
    assert {(record["level"], record["job"]) for record in found} == {("DEBUG", "discover")}
