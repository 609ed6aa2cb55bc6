"""`lampworks ui` (Dagster's own pages on this root) and `lampworks play` (the world in a browser)."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from types import FrameType

import psutil

from assets.cli.options import Parsers, add_address_options, add_model_option, address_of, settings_of, used_settings
from assets.graph.resources import CHECKOUT
from assets.settings import Settings
from pipeline.errors import UserError


def add_commands(commands: Parsers) -> None:
    """Add `ui` and `play`."""
    ui = commands.add(
        "ui",
        run_ui,
        "Open Dagster on this root: assets, runs, checks, charts.",
        "Starts `dagster dev` on this machine alone, with the root's own Dagster home, source and settings.\n"
        "Materialize assets and switch on the weekly re-curation there. While it runs, `lampworks run` on the same\n"
        "root is refused.",
        "  lampworks ui --root ./lampworks-data --port 3000",
    )
    ui.add_argument("--port", type=int, default=3000, metavar="N", help="port on 127.0.0.1 (default: %(default)s)")
    ui.add_argument("--source", metavar="SPEC", help="source of new searches (default: what the root remembers)")
    play = commands.add(
        "play",
        run_play,
        "Play the trained world in a browser: keys 1 to 8 are its actions.",
        "Serves one page. Pick a start frame, press a key, see the next frame that the model makes of it.",
        "  lampworks play --root ./lampworks-data --port 8000\n  lampworks play --model 3f0c        another world",
    )
    add_address_options(play, 8000)
    add_model_option(play)


def run_play(args: argparse.Namespace) -> int:
    """Serve the play page until it is stopped."""
    settings = used_settings(args)
    from assets.cli.server import run_uvicorn
    from models.play.serve import serve_play

    serve_play(settings.job(), address_of(args), run_uvicorn, args.model)
    return 0


def run_ui(args: argparse.Namespace) -> int:
    """Run `dagster dev` on the root until it is stopped, and end its processes with it."""
    settings = settings_of(args)
    from assets.graph.partitions import register_batches
    from assets.passes.instance import open_instance, prepare_home, sweep_killed_runs
    from assets.passes.lock import HELD, lock_home
    from assets.settings import save_config

    with lock_home(settings.home, settings.store.root):
        _check_port(args.port)
        settings.store.check_writable()
        prepare_home(settings.home)
        save_config(settings)
        with open_instance(settings.home) as instance:
            sweep_killed_runs(instance)
            register_batches(instance, settings.store)
        # `dagster dev` tells its users to move to another tool of its own; ours have this one
        quiet = {"PYTHONWARNINGS": "ignore:Function `dev_command` is superseded"}
        environment = {**quiet, **os.environ, **settings.environment(), HELD: str(settings.home.folder)}
        print(
            f"Dagster on http://127.0.0.1:{args.port} for root {settings.store.root} (Ctrl-C stops it)", file=sys.stderr
        )
        return _serve(_command(args.port), environment, settings)


def _command(port: int) -> list[str]:
    workspace = CHECKOUT / "workspace.yaml"
    # an installed wheel has no workspace file beside it; the module says the same
    where = ["-w", str(workspace)] if workspace.is_file() else ["-m", "assets.definitions"]
    return [sys.executable, "-m", "dagster", "dev", *where, "-h", "127.0.0.1", "-p", str(port)]


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            raise UserError(
                f"port {port} on 127.0.0.1 cannot be used ({exc.strerror}): choose another --port."
            ) from exc


def _serve(command: list[str], environment: dict[str, str], settings: Settings) -> int:
    child = subprocess.Popen(command, env=environment, cwd=settings.home.folder, start_new_session=True)

    def stop(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # a shell ignores Ctrl-C for a process in the background; a signal that arrives all the same is meant
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        code = child.wait()
    except KeyboardInterrupt:
        _stop(child)
        return 0
    finally:
        _stop(child)
        for number, handler in before.items():
            signal.signal(number, handler)
    print(f"error: `dagster dev` ended with code {code}; its output above says why", file=sys.stderr)
    return 1


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End the process and all its descendants: asked as Ctrl-C asks, then told, then killed.

    `dagster dev` ignores Ctrl-C where it was started in the background, and its children outlive it when it is killed.
    """
    try:
        top = psutil.Process(child.pid)
        alive = [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for number, targets, patience_s in (
        (signal.SIGINT, [top], 4),
        (signal.SIGTERM, alive, 6),
        (signal.SIGKILL, alive, 5),
    ):
        for process in targets:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        # run workers may have been started meanwhile
        with suppress(psutil.NoSuchProcess):
            alive = list({*alive, *top.children(recursive=True)})
        alive = psutil.wait_procs(alive, timeout=patience_s)[1]
        if not alive:
            return
