"""Options that many commands share, and the settings that they amount to."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assets.settings import DEFAULT_ROOT, Settings, load_settings, parse_storage_options
from pipeline.config import parse_overrides
from pipeline.errors import UserError
from pipeline.outside import shown_text
from pipeline.serving import Address

Handler = Callable[[argparse.Namespace], int]


class Parsers:
    """The place where commands are added, each with a description, an example and a handler."""

    def __init__(self, subparsers: Any) -> None:
        self._subparsers = subparsers

    def add(
        self, name: str, handler: Handler, summary: str, text: str, example: str, *, root: bool = True
    ) -> argparse.ArgumentParser:
        """Add a command; `root` gives it the options that name a root."""
        command: argparse.ArgumentParser = self._subparsers.add_parser(
            name,
            help=summary,
            description=f"{summary}\n\n{text}",
            epilog=f"example:\n{example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(handler=handler)
        if root:
            add_root_options(command)
        add_log_options(command)
        return command

    def group(self, name: str, summary: str, text: str, example: str) -> Parsers:
        """Add a command that only has others below it, and return the place where these are added."""
        command = self._subparsers.add_parser(
            name,
            help=summary,
            description=f"{summary}\n\n{text}",
            epilog=f"example:\n{example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        return Parsers(command.add_subparsers(title="commands", metavar="NAME", required=True))


def add_root_options(command: argparse.ArgumentParser) -> None:
    """Add the options that say which root, which configuration and where local state lies."""
    group = command.add_argument_group("root and configuration")
    group.add_argument(
        "--root",
        metavar="DIR",
        help=f"folder or s3://bucket/prefix of all data (LAMPWORKS_ROOT, else ./{DEFAULT_ROOT})",
    )
    group.add_argument(
        "--config", metavar="FILE", help="YAML of settings (LAMPWORKS_CONFIG, else what the root remembers)"
    )
    group.add_argument("--home", metavar="DIR", help="folder of local state (LAMPWORKS_HOME, else the root itself)")
    group.add_argument(
        "--storage-options",
        metavar="K=V,...",
        help="of S3: key, secret, token, endpoint_url, region, retry_s (LAMPWORKS_STORAGE_OPTIONS, else the AWS "
        "variables, which keep secrets out of the process list)",
    )


def add_set_option(command: argparse.ArgumentParser) -> None:
    """Add `--set`."""
    command.add_argument(
        "--set",
        action="append",
        metavar="NAME=VALUE",
        help="one setting, as clips.crf=23; again for more; the root remembers it (`lampworks config` lists them)",
    )


def root_options(args: argparse.Namespace) -> str:
    """Return the options that name the root, as they were given, quoted for a shell: for a command that is suggested.

    Secrets of `--storage-options` are left out.
    """
    given = ((name, getattr(args, name, None)) for name in ("root", "config", "home"))
    return "".join(f" --{name} {shlex.quote(value)}" for name, value in given if value)


def add_model_option(command: argparse.ArgumentParser) -> None:
    """Add `--model`."""
    command.add_argument(
        "--model",
        metavar="ID",
        help="a world, by its id or the unique start of it (`lampworks models`); default: the configured one",
    )


def add_study_options(command: argparse.ArgumentParser, name: str) -> None:
    """Add the options that say where a study's results go."""
    group = command.add_argument_group("results")
    group.add_argument(
        "--out", type=Path, default=Path("build/studies") / name, metavar="DIR",
        help="folder of JSON, drawings and what was measured so far (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--page", type=Path, metavar="FILE", help="Markdown page whose section about this study is written anew"
    )


def add_log_options(command: argparse.ArgumentParser) -> None:
    """Add `-v` and `--log-json`."""
    group = command.add_argument_group("logging")
    group.add_argument("-v", "--verbose", action="count", default=0, help="log every stage; -vv: every item too")
    group.add_argument(
        "--log-json", action="store_true", help="log as JSON lines in place of progress lines (LAMPWORKS_LOG=json)"
    )


def settings_of(args: argparse.Namespace, *, base: str | None = None, recall: bool = True) -> Settings:
    """Return the settings that the options amount to; `base` and `recall` as of `load_settings`.

    `--preset` names the base, and replaces the preset that the root remembers.
    """
    options = parse_storage_options(args.storage_options) if args.storage_options else None
    named = getattr(args, "preset", None)
    settings = load_settings(
        args.root,
        config=args.config,
        source=getattr(args, "source", None),
        home=args.home,
        storage_options=options,
        overrides=parse_overrides(getattr(args, "set", None) or ()),
        base=named or base,
        change_preset=named is not None,
        recall=recall,
    )
    for note in settings.notes:
        print(shown_text(note), file=sys.stderr)
    return settings


def used_settings(args: argparse.Namespace) -> Settings:
    """Return the settings of a root that holds something; UserError where it does not."""
    settings = settings_of(args)
    store = settings.store
    if store.is_local and not (Path(store.root) / "tables").is_dir():
        raise UserError(
            f"root {store.root!r} holds nothing yet: name another with --root, or fill it with `lampworks demo` or "
            "`lampworks run --source folder:DIR`."
        )
    return settings


def bench_settings(args: argparse.Namespace) -> Settings:
    """Return the settings of the root that a bench reads; its `--preset` names a size of model, and no settings."""
    return used_settings(argparse.Namespace(**{**vars(args), "preset": None}))


def add_address_options(command: argparse.ArgumentParser, port: int) -> None:
    """Add the options of a local page's address, with a default port."""
    group = command.add_argument_group("address")
    group.add_argument("--host", default="127.0.0.1", help="address to serve on (default: this machine alone)")
    group.add_argument("--port", type=int, default=port, metavar="N", help="port, 0: a free one (default: %(default)s)")
    group.add_argument("--token", help="what visitors must show; needed where others can reach the address")


def address_of(args: argparse.Namespace) -> Address:
    """Return the address that a command's options name; UserError where it needs a token."""
    return Address(host=args.host, port=args.port, token=args.token)
