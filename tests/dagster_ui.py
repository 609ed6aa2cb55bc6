"""`lampworks ui` on a root, driven as its pages drive it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from assets.passes.lock import marked_processes
from pipeline.http_guard import open_socket
from pipeline.storage.home import Home

CHECKOUT = Path(__file__).parents[1]


class Ui:
    """The command in a process of its own, and GraphQL as its pages send it."""

    def __init__(self, home: Home, root: str, options: Sequence[str] = ()) -> None:
        with open_socket("127.0.0.1", 0) as probe:
            self.port = probe.getsockname()[1]
        self.home, self.url = home, f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "assets.cli.main", "ui", "--root", root, "--port", str(self.port), *options]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("LAMPW", "DAGSTER"))}
        self.log = home.folder.parent / f"ui-{self.port}.log"
        with self.log.open("wb") as log:
            # tests that `nohup` runs ignore SIGHUP, and so would this process
            command = ["env", "--default-signal=HUP", *command]
            self.process = subprocess.Popen(
                command, env={**environment, "PYTHONPATH": str(CHECKOUT)}, stdout=log, stderr=log
            )

    def wait(self) -> None:
        """Wait until its pages know the graph."""

        def is_ready() -> object:
            assert self.process.poll() is None, self.said()
            return self.answers() and self.place()

        wait_for(is_ready, 300, self.said)

    def answers(self) -> bool:
        with suppress(OSError):
            return bool(urllib.request.urlopen(f"{self.url}/server_info", timeout=5).status == 200)
        return False

    def said(self) -> str:
        """Return what it printed so far."""
        return self.log.read_text("utf-8", "replace")

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        return found["data"]

    def place(self) -> dict[str, str]:
        found = self.ask("{repositoriesOrError{... on RepositoryConnection{nodes{name location{name}}}}}")
        nodes = found["repositoriesOrError"].get("nodes")
        return (
            {"repositoryName": nodes[0]["name"], "repositoryLocationName": nodes[0]["location"]["name"]}
            if nodes
            else {}
        )

    def launch(
        self, job: str, batch: str | None = None, config: object = None, assets: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Launch a run of some assets of a job (of all, where none is named); return what the launch answers."""
        query = """mutation($p: ExecutionParams!) {launchPipelineExecution(executionParams: $p) {
            __typename ... on LaunchRunSuccess {run {runId}} ... on RunConfigValidationInvalid {errors {message}}
            ... on PythonError {message}}}"""
        metadata = {"tags": [{"key": "dagster/partition", "value": batch}] if batch else []}
        where: dict[str, Any] = {**self.place(), "pipelineName": job}
        if assets:
            where["assetSelection"] = [{"path": [name]} for name in assets]
        params = {"selector": where, "runConfigData": config or {}, "mode": "default", "executionMetadata": metadata}
        found: dict[str, Any] = self.ask(query, p=params)["launchPipelineExecution"]
        return found

    def run(self, job: str, batch: str | None = None, config: object = None, assets: Sequence[str] = ()) -> str:
        """Launch a run; return its id."""
        return str(self.launch(job, batch, config, assets)["run"]["runId"])

    def terminate(self, run_id: str) -> None:
        query = "mutation($id: String!) {terminateRun(runId: $id) {__typename}}"
        assert self.ask(query, id=run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"

    def start_sensor(self, name: str) -> None:
        query = "mutation($s: SensorSelector!) {startSensor(sensorSelector: $s) {__typename}}"
        assert self.ask(query, s={**self.place(), "sensorName": name})["startSensor"]["__typename"] == "Sensor"

    def runs(self) -> dict[str, str]:
        """Return run id -> status."""
        found = self.ask("{runsOrError{... on Runs{results{runId status}}}}")
        return {run["runId"]: run["status"] for run in found["runsOrError"]["results"]}

    def messages(self, run_id: str) -> list[str]:
        """Return what a run's log says, and the errors that its events keep."""
        query = """query($id: ID!) {logsForRun(runId: $id) {... on EventConnection {events {
            ... on MessageEvent {message} ... on ErrorEvent {error {message}}}}}}"""
        events = self.ask(query, id=run_id)["logsForRun"]["events"]
        errors = [event["error"]["message"] for event in events if event.get("error")]
        return [event.get("message", "") for event in events] + errors

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it, and see that nothing of it is left."""
        self.process.send_signal(number)
        self.process.wait(60)
        wait_for(lambda: not marked_processes(self.home), 60)


def wait_for(
    condition: Callable[[], Any], seconds: float, explain: Callable[[], object] = str, *, rarest_s: float = 1.0
) -> Any:
    """Wait for a condition to hold, and return its value; AssertionError, with an explanation, where it does not.

    A look often asks Dagster's pages, which costs processor time that the work itself needs: looks become rarer.

    Args:
        condition: what is looked at.
        seconds: for which it may take.
        explain: called for what the error says.
        rarest_s: most seconds between two looks; little where what is seen is soon gone.
    """
    end, pause = time.monotonic() + seconds, 0.1
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds} s for {condition}\n{explain()}"
        time.sleep(pause)
        pause = min(1.3 * pause, rarest_s)
    return found
