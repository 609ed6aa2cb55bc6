"""`lampworks services` on a root, with a real Postgres, driven by the GraphQL of its pages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import yaml

from assets.cli.services.lifetime import processes_of
from assets.passes.instance import POSTGRES_TEMPLATE
from assets.settings import Settings
from pipeline.http_guard import open_socket
from tests.dagster_ui import CHECKOUT, Ui, wait_for
from tests.postgres import Postgres, real_postgres

TOKEN = "a-token-of-the-test"


class Deployment(Ui):
    """The services as plain processes; what a person or a page asks is asked as of `lampworks ui`."""

    def __init__(
        self, settings: Settings, postgres: Postgres, options: Sequence[str] = (), *, poll_s: int = 2, **more: str
    ) -> None:
        self.settings, self.home, self.postgres = settings, settings.home, postgres
        ports = []
        for _ in range(2):
            with open_socket("127.0.0.1", 0) as probe:
                ports.append(probe.getsockname()[1])
        self.port, self.metrics_port = ports
        self.url, self.metrics_url = (f"http://127.0.0.1:{port}" for port in ports)
        self.quicken(poll_s)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAMPW", "DAGSTER"))}
        self.environment = {
            **kept, "PYTHONPATH": str(CHECKOUT), "DAGSTER_PG_URL": postgres.url, "LAMPWORKS_UI_TOKEN": TOKEN,
            "LAMPWORKS_LOG": "json", **more,
        }  # fmt: skip
        where = ["--root", settings.store.root, "--home", str(settings.home.folder)]
        self.where = [*where, "--port", str(self.port), "--metrics-port", str(self.metrics_port)]
        command = [sys.executable, "-m", "assets.cli.main", "services", *self.where, *options]
        self.log = settings.home.folder.parent / f"services-{self.port}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        self.mark = f"{self.process.pid} {psutil.Process(self.process.pid).create_time():.2f}"

    def quicken(self, poll_s: int) -> None:
        """Write a `dagster.yaml` that looks at runs more often than every half a minute."""
        values = yaml.safe_load(POSTGRES_TEMPLATE.read_text("utf-8"))
        values["run_monitoring"]["poll_interval_seconds"] = poll_s
        self.home.dagster.mkdir(parents=True, exist_ok=True)
        (self.home.dagster / "dagster.yaml").write_text(yaml.safe_dump(values), "utf-8")

    def get(self, url: str, token: str | None = TOKEN) -> tuple[int, str]:
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read().decode()

    def answers(self) -> bool:
        with suppress(OSError):
            return self.get(f"{self.url}/server_info")[0] == 200
        return False

    def ready(self) -> dict[str, Any]:
        """Return what `/ready` says; nothing where nothing answers."""
        with suppress(OSError):
            found: dict[str, Any] = json.loads(self.get(f"{self.metrics_url}/ready")[1])
            return found
        return {"ready": False, "parts": {}}

    def wait(self) -> None:
        """Wait until every part works and its pages know the graph."""

        def is_ready() -> object:
            assert self.process.poll() is None, self.said()
            return self.ready()["ready"] and self.place()

        wait_for(is_ready, 600, self.said)

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/graphql", body, headers), timeout=60) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        return found["data"]

    def metrics(self) -> str:
        """Return what Prometheus gets."""
        status, text = self.get(f"{self.metrics_url}/metrics")
        assert status == 200, text
        return text

    def processes(self, role: str) -> list[psutil.Process]:
        """Return the living processes of a service."""
        return processes_of(self.mark, role)

    def status_of(self, run_id: str) -> str:
        return self.runs()[run_id]

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, and see that nothing of it is left."""
        self.process.send_signal(number)
        self.process.wait(240)
        wait_for(lambda: not processes_of(self.mark), 60)


@contextmanager
def deployed(settings: Settings, options: Sequence[str] = (), *, poll_s: int = 2, **more: str) -> Iterator[Deployment]:
    """Start the services with a Postgres of their own, yield them when they are ready, and see them end."""
    with real_postgres() as postgres:
        found = Deployment(settings, postgres, options, poll_s=poll_s, **more)
        try:
            found.wait()
            yield found
        finally:
            if found.process.poll() is None:
                found.stop()
