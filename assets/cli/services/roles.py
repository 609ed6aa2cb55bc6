"""What each service does: functions that `lampworks services` calls in processes of their own.

    code     loads the graph and starts the process of every run
    daemon   starts queued runs, schedules and sensors, watches runs, starts crashed ones again
    pages    Dagster's web server, behind the guard of all pages
    metrics  /metrics for Prometheus, /live and /ready

A service that needs Dagster's database waits for it, and says so.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from types import FrameType

from assets.cli.services.health import why_no_code
from assets.cli.services.lifetime import end_with_command
from assets.cli.services.places import LOCATION, TOKEN, Parts, code_address, code_patience_s
from assets.logs import json_wanted, set_up_logging
from assets.passes.postgres import postgres_url, why_no_answer
from pipeline.http_guard import url_of
from pipeline.serving import Address

_LOOK_S = 10.0
_CODE_S = 60.0


def serve_code(life_fd: int, code_server: str) -> None:
    """Serve the graph at an address (`HOST:PORT`, or the path of a socket), and run what is asked for."""
    _begin(life_fd)
    from assets.cli.services.code_server import serve

    where = code_address(code_server)
    options = ["--socket", where["socket"]] if "socket" in where else ["--host", where["host"], "--port", where["port"]]
    module = ["--module-name", "assets.definitions", "--empty-working-directory", "--location-name", LOCATION]
    serve([*options, *module, *_log_options(), "--use-python-environment-entry-point"])


def run_daemon(life_fd: int, workspace: str, code_server: str) -> None:
    """Run Dagster's daemon, and have queued runs say why they wait."""
    _begin(life_fd)
    code_patience_s()
    _wait_for_postgres()
    _wait_for_code(code_server)
    import dagster._daemon.controller as dagster_daemon
    from dagster._daemon.cli import run_command

    from assets.cli.services.patient_retries import PatientRetries

    # the daemon makes its parts of the classes that the module has under these names
    dagster_daemon.EventLogConsumerDaemon = PatientRetries  # type: ignore[attr-defined]
    _tell_why_runs_wait()
    sys.argv = ["dagster-daemon", "--workspace", workspace, *_log_options(), "--code-server-log-level", "warning"]
    run_command()


def serve_pages(life_fd: int, listening_fd: int, host: str, workspace: str, code_server: str) -> None:
    """Serve Dagster's pages until the process is told to end."""
    _begin(life_fd)
    listening, address = _listening(listening_fd, host)
    _wait_for_postgres()
    _wait_for_code(code_server)
    import dagster as dg
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster._utils.log import configure_loggers

    from assets.cli.dagster_pages import dagster_pages
    from assets.cli.server import run_uvicorn

    configure_loggers(formatter="json" if json_wanted(False) else "colored", log_level="INFO")
    _end_in_order()
    with suppress(KeyboardInterrupt), dg.DagsterInstance.get() as instance:
        # milliseconds of a query, seconds of a connection, connections beside the first
        instance.optimize_for_webserver(15000, 3600, 20)
        if postgres_url() is not None:
            from assets.passes.patient_storage import try_before_use

            try_before_use(instance)
        with WorkspaceProcessContext(instance, WorkspaceFileTarget([workspace]), version=dg.__version__) as context:
            _say(f"Dagster on {url_of(address.host, listening)}")
            run_uvicorn(dagster_pages(context, address), listening)


def serve_metrics(life_fd: int, listening_fd: int, host: str, parts: str) -> None:
    """Serve metrics, health and readiness; `parts` is the JSON of `Parts`."""
    _begin(life_fd)
    listening, address = _listening(listening_fd, host)
    from assets.cli.server import run_uvicorn
    from assets.cli.services.metrics_page import metrics_page

    _end_in_order()
    with suppress(KeyboardInterrupt):
        _say(f"metrics on {url_of(address.host, listening)}metrics")
        run_uvicorn(metrics_page(Parts(**json.loads(parts)), address), listening)


def _begin(life_fd: int) -> None:
    """Have this process end with the command, and its lines be those of a service."""
    end_with_command(life_fd)
    set_up_logging(as_json=json_wanted(False))
    # a library that logs without a logger of its own would give the root one, which prints every line once more
    logging.getLogger().addHandler(logging.NullHandler())


def _log_options() -> list[str]:
    return ["--log-level", "info", "--log-format", "json" if json_wanted(False) else "colored"]


def _listening(descriptor: int, host: str) -> tuple[socket.socket, Address]:
    listening = socket.socket(fileno=descriptor)
    listening.set_inheritable(False)
    return listening, Address(host=host, token=os.environ.get(TOKEN) or None)


def _end_in_order() -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _wait_for_postgres() -> None:
    url, said = postgres_url(), ""
    while url is not None and (why := why_no_answer(url)):
        if why != said:
            _say(f"{why}: waiting for it")
            said = why
        time.sleep(1)


def _wait_for_code(code_server: str) -> None:
    """Wait for the code server for a minute: the graph is then there from the start; without it the rest works."""
    end = time.monotonic() + _CODE_S
    while (why := why_no_code(code_server)) and time.monotonic() < end:
        time.sleep(0.5)
    if why:
        _say(f"the code server at {code_server} does not answer yet ({why})")


def _tell_why_runs_wait() -> None:
    """Have queued runs say why they wait, from a thread of this process."""

    def work() -> None:
        said: dict[str, str] = {}
        while True:
            time.sleep(_LOOK_S)
            say_why_runs_wait_once(said)

    threading.Thread(target=work, daemon=True, name="say why runs wait").start()


def say_why_runs_wait_once(said: dict[str, str]) -> None:
    """Look once at the queued runs; where Dagster's storage fails, say so, and the next look may succeed."""
    import dagster as dg

    from assets.passes.waiting import say_why_runs_wait

    try:
        with dg.DagsterInstance.get() as instance:
            say_why_runs_wait(instance, said)
    except Exception as exc:  # a driver, SQLAlchemy and Dagster each have errors of their own for a lost database
        _say(f"Dagster's runs cannot be read: {type(exc).__name__}")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
