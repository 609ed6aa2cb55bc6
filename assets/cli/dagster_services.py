"""The process that `lampworks ui` starts: Dagster's code server and daemon as its children, Dagster's pages in itself.

It does the work of `dagster dev`, with the pages behind the guard. It ends with the command, however that ends, and so
does all that it started.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from assets.cli.lifetime import PATIENCE_S, end_with, python_command, repeat
from pipeline.http_guard import url_of
from pipeline.serving import Address
from pipeline.storage.home import Home

# Dagster takes a second to import: the watch over the command's life comes first
if TYPE_CHECKING:
    from dagster import DagsterInstance
    from dagster._core.workspace.load_target import WorkspaceLoadTarget

CHECKOUT = Path(__file__).resolve().parents[2]
TOKEN = "LAMPWORKS_UI_TOKEN"
"""Variable by which the process gets the token: a command line is shown to every user of the machine."""
_LOOK_S = 10.0


def serve_pages(life_fd: int, listening_fd: int, host: str, home_folder: str) -> None:
    """Serve Dagster's pages until the process is told to end.

    Args:
        life_fd: socket whose other end is in the command; see `end_with`.
        listening_fd: socket that listens on the address.
        host: of the address.
        home_folder: home of the root; `DAGSTER_HOME` and the other variables are set.
    """
    life, listening = socket.socket(fileno=life_fd), socket.socket(fileno=listening_fd)
    for one in (life, listening):
        one.set_inheritable(False)
    home = Home(Path(home_folder))
    is_over = end_with(life, home)
    address = Address(host=host, token=os.environ.pop(TOKEN, None))

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    ended: list[str] = []
    with suppress(KeyboardInterrupt):
        _serve(listening, address, home, life, ended)
    # whatever was interrupted above: nothing may stay behind, and no second signal may come between
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if ended and not is_over.is_set():
        sys.exit(ended[0])


def run_daemon(life_fd: int, home_folder: str, workspace: str) -> None:
    """Run Dagster's daemon, which starts queued runs, schedules and sensors, until the process is told to end."""
    end_with(socket.socket(fileno=life_fd), Home(Path(home_folder)))
    from dagster._daemon.cli import main

    levels = ["--log-level", "info", "--code-server-log-level", "warning"]
    sys.argv = ["dagster-daemon", "run", "--workspace", workspace, *levels]
    main()


def _serve(listening: socket.socket, address: Address, home: Home, life: socket.socket, ended: list[str]) -> None:
    import dagster as dg
    from dagster._cli.proxy_server_manager import ProxyServerManager
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster._utils.log import configure_loggers

    from assets.cli.dagster_pages import dagster_pages
    from assets.cli.server import run_uvicorn

    # Dagster's own processes ask whether this is a local installation
    os.environ["DAGSTER_IS_DEV_CLI"] = "1"
    configure_loggers(log_level="INFO")
    with ExitStack() as stack:
        instance = stack.enter_context(dg.DagsterInstance.get())
        instance.optimize_for_webserver(15000, 3600, 20)
        servers = stack.enter_context(ProxyServerManager(instance, _definitions(), code_server_log_level="WARNING"))
        workspace = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lampworks-ui-"))) / "workspace.yaml"
        workspace.write_text(json.dumps({"load_from": servers.get_code_server_specs()}), "utf-8")
        stack.enter_context(_daemon(workspace, home, life, ended))
        stopped = threading.Event()
        stack.callback(stopped.set)
        said: dict[str, str] = {}
        repeat(lambda: _look_at_runs(instance, said), _LOOK_S, stopped)
        target = WorkspaceFileTarget([str(workspace)])
        context = stack.enter_context(WorkspaceProcessContext(instance, target, version=dg.__version__))
        sys.stderr.write(f"Dagster on {url_of(address.host, listening, address.token)} (Ctrl-C stops it)\n")
        run_uvicorn(dagster_pages(context, address), listening)


def _definitions() -> WorkspaceLoadTarget:
    from dagster._core.workspace.load_target import ModuleTarget, WorkspaceFileTarget

    workspace = CHECKOUT / "workspace.yaml"
    if workspace.is_file():
        return WorkspaceFileTarget([str(workspace)])
    # an installed wheel has no workspace file beside it; the module says the same
    return ModuleTarget("assets.definitions", None, working_directory=None, location_name="lampworks")


@contextmanager
def _daemon(workspace: Path, home: Home, life: socket.socket, ended: list[str]) -> Iterator[None]:
    """Have the daemon run beside the block; where it ends, all does."""
    call = f"run_daemon({life.fileno()}, {str(home.folder)!r}, {str(workspace)!r})"
    daemon = subprocess.Popen(python_command(__name__, call), pass_fds=[life.fileno()])
    stopping = threading.Event()

    def watch() -> None:
        code = daemon.wait()
        if not stopping.is_set():
            ended.append(f"error: Dagster's daemon ended with code {code}; its output above says why")
            os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=watch, daemon=True, name="watch the daemon")
    watcher.start()
    try:
        yield
    finally:
        stopping.set()
        daemon.terminate()
        watcher.join(PATIENCE_S)
        daemon.kill()


def _look_at_runs(instance: DagsterInstance, said: dict[str, str]) -> None:
    """Mark killed runs as failed, and have each queued run say why it waits."""
    from sqlalchemy.exc import SQLAlchemyError

    from assets.passes.instance import sweep_dead_workers
    from assets.passes.waiting import say_why_runs_wait

    try:
        for run_id in sweep_dead_workers(instance):
            sys.stderr.write(f"run {run_id[:8]} was killed: it is marked failed, and its place is free again\n")
        say_why_runs_wait(instance, said)
    except SQLAlchemyError as exc:  # a full disk, a locked file: the next look may succeed
        sys.stderr.write(f"Dagster's runs cannot be read: {exc}\n")
