"""`lampworks services`, which runs a deployment as plain processes, `lampworks health` and `lampworks metrics`."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from assets.cli.lifetime import python_command
from assets.cli.options import Parsers, settings_of
from assets.cli.services.health import ask_all
from assets.cli.services.places import ROLES, TOKEN, Parts, code_patience_s, write_workspace
from assets.cli.services.supervisor import Service, Supervisor
from assets.logs import json_wanted
from assets.settings import Settings, save_config
from pipeline.errors import UserError
from pipeline.serving import Address, Listener

_PORTS = {"pages": 3000, "metrics": 9464}
_GRACE_S = 60.0


def add_commands(commands: Parsers) -> None:
    """Add `services`, `health` and `metrics`."""
    services = commands.add(
        "services",
        run_services,
        "Run a deployment: code server, daemon, web server and metrics, each kept alive.",
        "For a machine that works unattended; `lampworks ui` is for the one in front of you. DAGSTER_PG_URL names the\n"
        "Postgres that keeps Dagster's runs. `--only` runs some of the services, as a container each does\n"
        "(deploy/compose.yaml). LAMPWORKS_LOG=json prints JSON lines. SIGTERM ends all in order.",
        "  DAGSTER_PG_URL=postgresql://user:password@127.0.0.1/dagster lampworks services --root s3://bucket/games\n"
        "  lampworks services --only pages --code-server code:4266 --host 0.0.0.0",
    )
    _add_place_options(services, ", ".join(ROLES))
    services.add_argument("--source", metavar="SPEC", help="source of new searches (default: what the root remembers)")
    services.add_argument(
        "--grace", type=float, default=_GRACE_S, metavar="S",
        help="seconds that runs get to save what they are at when the services are ended (default: %(default)g)",
    )  # fmt: skip
    health = commands.add(
        "health",
        run_health,
        "Say whether the services of a deployment work; exit code 1 where one does not.",
        "Asks what `/ready` of the metrics service asks (storage, store, services), and that service too.",
        "  lampworks health --only code --code-server code:4266",
    )
    _add_place_options(health, "storage, store, code, daemon, pages, metrics")
    metrics = commands.add(
        "metrics",
        run_metrics,
        "Print the figures that Prometheus takes, or write them to a file.",
        "The metrics service serves the same at /metrics. A file is for the textfile collector of node_exporter.",
        "  lampworks metrics --root ./lampworks-data --textfile /var/lib/node_exporter/lampworks.prom",
    )
    metrics.add_argument("--textfile", type=Path, metavar="FILE", help="write them there, as a whole")


def _add_place_options(command: argparse.ArgumentParser, names: str) -> None:
    group = command.add_argument_group("services")
    group.add_argument("--only", metavar="A,B", help=f"some of {names} (default: all)")
    group.add_argument(
        "--code-server", metavar="HOST:PORT",
        help="where the code server is; it takes orders from everyone who reaches it, so keep it in a closed network "
        "(default: a socket that only this user reaches)",
    )  # fmt: skip
    group.add_argument(
        "--pages", metavar="URL", help="where the pages are, if another command serves them, as http://pages:3000: "
        "`/ready` asks them too"
    )  # fmt: skip
    group.add_argument("--host", default="127.0.0.1", help="address of pages and metrics (default: this machine alone)")
    group.add_argument("--port", type=int, default=_PORTS["pages"], metavar="N", help="of the pages (%(default)s)")
    group.add_argument(
        "--metrics-port", type=int, default=_PORTS["metrics"], metavar="N", help="of the metrics (%(default)s)"
    )
    group.add_argument(
        "--token", default=os.environ.get(TOKEN) or None,
        help=f"what visitors must show, needed where others can reach the address (else {TOKEN})",
    )  # fmt: skip


def run_services(args: argparse.Namespace) -> int:
    """Run services until the process is told to end."""
    only = _chosen(args)
    settings = settings_of(args)
    from assets.graph.partitions import register_batches
    from assets.passes.instance import open_instance, sweep_killed_runs
    from assets.passes.lock import lock_home
    from assets.passes.postgres import PG_URL, postgres_url

    if len(only) < len(ROLES) and postgres_url() is None:
        raise UserError(f"--only is for services that share a Postgres: set {PG_URL} to its address")
    if "daemon" in only:
        code_patience_s()
    with ExitStack() as stack:
        if "code" in only:  # the runs are this one's
            stack.enter_context(lock_home(settings.home, settings.store.root))
        settings.store.check_writable()
        listeners = {
            name: stack.enter_context(Listener(Address(host=args.host, port=port, token=args.token)))
            for name, port in (("pages", args.port), ("metrics", args.metrics_port))
            if name in only
        }
        with open_instance(settings.home) as instance:
            if "code" in only:
                save_config(settings)
                sweep_killed_runs(instance)
                register_batches(instance, settings.store)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lampworks-")))
        life, life_there = socket.socketpair()
        stack.callback(life.close)
        stack.callback(life_there.close)
        services = _services(args, only, settings, listeners, folder, life_there.fileno())
        supervisor = Supervisor(services, as_json=json_wanted(args.log_json))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            before = signal.signal(number, _stopping(supervisor))
            stack.callback(signal.signal, number, before)
        try:
            supervisor.run()
        finally:
            supervisor.end(args.grace)
    return 0


def _stopping(supervisor: Supervisor) -> Callable[[int, FrameType | None], None]:
    def stop(number: int, frame: FrameType | None) -> None:
        supervisor.stop()

    return stop


def _services(
    args: argparse.Namespace,
    only: Sequence[str],
    settings: Settings,
    listeners: Mapping[str, Listener],
    folder: Path,
    life: int,
) -> list[Service]:
    """Return the services that were asked for, none started yet."""
    from assets.passes.lock import HELD

    code_server = args.code_server or str(folder / "code")
    workspace = str(write_workspace(folder, code_server))
    environment = {**os.environ, **_environment(settings)}
    environment.pop(TOKEN, None)
    if args.token is not None:
        environment[TOKEN] = args.token
    if json_wanted(args.log_json):
        environment["LAMPWORKS_LOG"] = "json"
    fds = {name: listener.fileno() for name, listener in listeners.items()}
    parts = json.dumps(asdict(_parts(args, only, code_server, listeners)))
    calls = {
        "code": f"serve_code({life}, {code_server!r})",
        "daemon": f"run_daemon({life}, {workspace!r}, {code_server!r})",
        "pages": f"serve_pages({life}, {fds.get('pages')}, {args.host!r}, {workspace!r}, {code_server!r})",
        "metrics": f"serve_metrics({life}, {fds.get('metrics')}, {args.host!r}, {parts!r})",
    }
    return [
        Service(
            name,
            python_command("assets.cli.services.roles", calls[name]),
            # a run may start a pass, which takes the lock of this command as its own
            {**environment, **({HELD: str(settings.home.folder)} if name == "code" else {})},
            (life, *([fds[name]] if name in fds else [])),
        )
        for name in only
    ]


def _environment(settings: Settings) -> dict[str, str]:
    """Return the variables by which a service finds the root; its settings are the store's own where none are here."""
    found = settings.environment()
    return found if settings.config_path.is_file() else {**found, "LAMPWORKS_CONFIG": ""}


def _parts(
    args: argparse.Namespace, only: Sequence[str], code_server: str | None, listeners: Mapping[str, Listener]
) -> Parts:
    """Return what `/ready` asks: the services of this command, and a code server elsewhere."""
    pages = listeners["pages"].url.partition("?")[0].rstrip("/") if "pages" in listeners else _elsewhere(args)
    asked = code_server if "code" in only or args.code_server else None
    return Parts(code_server=asked, daemon=True, pages=pages)


def _elsewhere(args: argparse.Namespace) -> str | None:
    """Return where other pages are, as `--pages` says; UserError where that is no address."""
    if args.pages is not None and not re.fullmatch(r"https?://[^\s/?#]+/?", args.pages):
        raise UserError(f"--pages {args.pages!r}: expected an address, as http://pages:3000")
    return args.pages and str(args.pages).rstrip("/")


def run_health(args: argparse.Namespace) -> int:
    """Print what is wrong with each part; return 1 where anything is."""
    parts = ("storage", "store", *ROLES)
    only = [name.strip() for name in args.only.split(",")] if args.only else []
    if unknown := [name for name in only if name not in parts]:
        raise UserError(f"--only: {unknown[0]!r} is not asked; there are {', '.join(parts)}")
    if "code" in only and args.code_server is None:
        raise UserError("name the code server: --code-server HOST:PORT")
    settings = settings_of(args)
    os.environ.update(_environment(settings))
    if args.token is not None:
        os.environ[TOKEN] = args.token
    pages = _elsewhere(args) or f"http://{args.host}:{args.port}"
    metrics = f"http://{args.host}:{args.metrics_port}"
    answers = ask_all(Parts(code_server=args.code_server, daemon=True, pages=pages, metrics=metrics), only)
    for name, why in answers.items():
        print(f"{name:8} {why or 'ok'}")
    return 1 if any(answers.values()) else 0


def run_metrics(args: argparse.Namespace) -> int:
    """Print the figures of a root, or write them to a file."""
    settings = settings_of(args)
    os.environ.update(_environment(settings))
    from prometheus_client import generate_latest, write_to_textfile

    from assets.cli.services.metrics import registry_of
    from assets.passes.instance import prepare_home

    prepare_home(settings.home)
    registry = registry_of(lambda: settings)
    if args.textfile is None:
        sys.stdout.write(generate_latest(registry).decode())
        return 0
    try:
        write_to_textfile(str(args.textfile), registry)
    except OSError as exc:
        raise UserError(f"{args.textfile} cannot be written: {exc.strerror or exc}") from exc
    return 0


def _chosen(args: argparse.Namespace) -> list[str]:
    names = [name.strip() for name in (args.only or ",".join(ROLES)).split(",")]
    if unknown := [name for name in names if name not in ROLES]:
        raise UserError(f"--only: {unknown[0]!r} is no service; there are {', '.join(ROLES)}")
    if args.only and args.code_server is None and {"daemon", "pages"} & {*names} and "code" not in names:
        raise UserError("the code server is another process's: name it with --code-server HOST:PORT")
    if args.code_server is not None and not re.fullmatch(r"\S+:\d{1,5}", args.code_server):
        raise UserError(f"--code-server {args.code_server!r}: expected HOST:PORT")
    return [name for name in ROLES if name in names]
