"""`lampworks ui` (Dagster's own pages on this root) and `lampworks play` (the world in a browser)."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType

from assets.cli.lifetime import end_marked, python_command
from assets.cli.options import Parsers, add_address_options, add_model_option, address_of, settings_of, used_settings
from assets.settings import Settings
from pipeline.errors import UserError
from pipeline.serving import Listener
from pipeline.storage.home import Home

_STOP_S = 15.0
"""Time in which Dagster's processes end in order; a run that is at work gets a part of it."""


def add_commands(commands: Parsers) -> None:
    """Add `ui` and `play`."""
    ui = commands.add(
        "ui",
        run_ui,
        "Open Dagster on this root: assets, runs, checks, charts.",
        "Serves Dagster's pages to this machine alone, with the root's own Dagster home, source and settings.\n"
        "Materialize assets and switch on the weekly re-curation there. While it runs, `lampworks run` on the same\n"
        "root is refused.",
        "  lampworks ui --root ./lampworks-data --port 3000",
    )
    add_address_options(ui, 3000)
    ui.add_argument("--source", metavar="SPEC", help="source of new searches (default: what the root remembers)")
    play = commands.add(
        "play",
        run_play,
        "Play the trained world in a browser: keys 1 to 8 are its actions.",
        "Serves one page. Pick a start, press a key, see the next frame that the model makes of it. WORLD is a packed\n"
        "world, a folder or a tar (`lampworks export world.tar`); it needs neither a root nor a network.",
        "  lampworks play --root ./lampworks-data --port 8000\n  lampworks play --model 3f0c        another world\n"
        "  lampworks play world.tar           a packed world",
    )
    play.add_argument("packed", nargs="?", metavar="WORLD", help="a packed world; default: the world of the root")
    add_address_options(play, 8000)
    add_model_option(play)


def run_play(args: argparse.Namespace) -> int:
    """Serve the play page until it is stopped."""
    if args.packed is not None:
        return _play_packed(args)
    settings = used_settings(args)
    from assets.cli.server import run_uvicorn
    from classifier.embedding.situations import clips_like
    from models.play.serve import serve_play

    nearest = partial(clips_like, settings.store, settings.config)
    serve_play(settings.job(), address_of(args), run_uvicorn, args.model, nearest)
    return 0


def _play_packed(args: argparse.Namespace) -> int:
    given = [
        f"--{name.replace('_', '-')}"
        for name in ("root", "config", "home", "storage_options", "model")
        if getattr(args, name)
    ]
    if given:
        raise UserError(f"{args.packed} is a packed world, which brings its own settings: leave {', '.join(given)} out")
    from assets.cli.server import run_uvicorn
    from models.play.serve import serve_packed

    serve_packed(args.packed, address_of(args), run_uvicorn)
    return 0


def run_ui(args: argparse.Namespace) -> int:
    """Serve Dagster's pages on the root until they are stopped, and end all of their processes with it."""
    settings, address = settings_of(args), address_of(args)
    from assets.graph.partitions import register_batches
    from assets.passes.instance import open_instance, prepare_home, sweep_killed_runs, what_an_edited_home_lacks
    from assets.passes.lock import lock_home
    from assets.settings import save_config

    with lock_home(settings.home, settings.store.root, beside_trainings=True), Listener(address) as listener:
        settings.store.check_writable()
        prepare_home(settings.home)
        if lacking := what_an_edited_home_lacks(settings.home):
            print(f"note: {lacking}", file=sys.stderr)
        save_config(settings)
        with open_instance(settings.home) as instance:
            sweep_killed_runs(instance)
            register_batches(instance, settings.store)
        print(f"starting Dagster for root {settings.store.root}", file=sys.stderr)
        return _run_services(settings, listener)


def _run_services(settings: Settings, listener: Listener) -> int:
    """Run `assets.cli.dagster_services` until it ends or this process is told to end."""
    from assets.cli.dagster_services import TOKEN
    from assets.passes.lock import HELD

    home, address = settings.home, listener.address
    environment = {**os.environ, **settings.environment(), HELD: str(home.folder)}
    if address.token is not None:
        environment[TOKEN] = address.token
    life, life_there = socket.socketpair()
    fds = (life_there.fileno(), listener.fileno())
    call = f"serve_pages({fds[0]}, {fds[1]}, {address.host!r}, {str(home.folder)!r})"
    with life, _stopped_by(signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with life_there:
            child = subprocess.Popen(
                python_command("assets.cli.dagster_services", call),
                pass_fds=fds,
                env=environment,
                cwd=home.folder,
                # a session of its own: Ctrl-C reaches this process alone, which then ends the others in order
                start_new_session=True,
            )
        try:
            code = child.wait()
        except KeyboardInterrupt:
            with suppress(KeyboardInterrupt):  # the second one is in a hurry
                child.terminate()
                with suppress(subprocess.TimeoutExpired):
                    child.wait(_STOP_S)
            code = 0
        finally:
            end_marked(home)
            child.wait()
            _tell_of_trainings(home)
    if code:
        print(f"error: Dagster's pages ended with code {code}; the output above says why", file=sys.stderr)
    return 1 if code else 0


def _tell_of_trainings(home: Home) -> None:
    from assets.passes.lock import trainings_of

    for process in trainings_of(home):
        print(
            f"a training goes on without these pages (process {process.pid}): `lampworks ui` shows it again; "
            f"`kill {process.pid}` ends it, and it saves its state first",
            file=sys.stderr,
        )


@contextmanager
def _stopped_by(*numbers: signal.Signals) -> Iterator[None]:
    """Raise KeyboardInterrupt in the block where one of these signals arrives."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {}
    for number in numbers:
        # `nohup` ignores a closed terminal; but a shell ignores Ctrl-C for what it starts in the background, where a
        # signal that arrives all the same is meant
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
