"""The command `lampworks`: runs, pages and questions about the data that Dagster's own commands do not cover.

    lampworks demo                       # the whole graph on the embedded source
    lampworks run --source folder:DIR    # the same graph on your videos
    lampworks ui                         # Dagster's pages on the same root

Exit codes: 0 success, 1 something failed, 2 something to fix on your side (the message says what), 130 stopped.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import sys
import traceback
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import metadata

from assets.cli.options import Parsers, root_options
from assets.logs import json_wanted, set_up_logging
from assets.suggested import completed_output
from pipeline.errors import StoreError, UserError
from pipeline.outside import shown_text

_EPILOG = """\
start here:
  lampworks demo                                  the whole graph on games played on this machine (10 minutes)
  lampworks run --source folder:VIDEOS --labels L.csv    the same on your own recordings
  lampworks play                                  play the world that was trained
  lampworks ui                                    its runs, checks and charts in Dagster
  lampworks COMMAND --help                        what a command does, with an example
"""


COMMANDS: Mapping[str, Sequence[str]] = {
    "assets.cli.run": ("demo", "run", "recurate"),
    "assets.cli.ui": ("ui", "play"),
    "assets.cli.services.command": ("services", "health", "metrics"),
    "assets.cli.label": ("label",),
    "assets.cli.models": ("models", "evaluate", "report"),
    "assets.cli.data": ("status", "why", "spot-check", "gc", "reconcile", "arcade"),
    "assets.cli.episodes": ("episodes",),
    "assets.cli.tabletop": ("tabletop",),
    "assets.cli.export": ("export",),
    "assets.cli.rebuild": ("rebuild",),
    "assets.cli.retry": ("retry",),
    "assets.cli.plan_scale": ("plan-scale",),
    "assets.cli.shards": ("shards",),
    "assets.cli.similar": ("similar",),
    "assets.cli.uncovered": ("uncovered",),
    "assets.cli.takedown": ("takedown",),
    "assets.cli.config": ("config",),
    "assets.cli.doctor": ("doctor",),
    "assets.cli.study": ("study",),
    "assets.cli.bench": ("bench",),
}
"""The module of each command, in the order of `--help`: one command imports its own module alone.

All of them take 2.5 CPU-seconds to import on 2 cores of an AMD EPYC without bf16, most of them 0.9.
"""


def parser(modules: Iterable[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser of the whole command, or of the commands of some modules."""
    top = argparse.ArgumentParser(
        prog="lampworks",
        description="From gameplay video to a playable world model, as one Dagster graph.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {metadata.version('lampworks')}")
    commands = Parsers(top.add_subparsers(title="commands", metavar="COMMAND", required=True))
    for name in modules:
        importlib.import_module(name).add_commands(commands)
    return top


def parser_for(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of the command that is asked for; of all where none is, or one that does not exist."""
    asked = argv[0] if argv else ""
    if asked == "--version":
        return parser(())
    return parser([name for name, commands in COMMANDS.items() if asked in commands] or COMMANDS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    args = parser_for(argv).parse_args(argv)
    set_up_logging(args.verbose, as_json=json_wanted(args.log_json))
    # what a program reads stays as it is
    plain = not (getattr(args, "json", False) or json_wanted(args.log_json))
    with completed_output(root_options(args) if plain else ""):
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    try:
        return int(args.handler(args))
    except (UserError, StoreError) as exc:
        print(f"error: {shown_text(exc)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped. What was published stays; the same command carries on from there.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader of our output has closed it (`| head`)
        sys.stderr.close()
        return 1
    except Exception as exc:
        if is_disk_full(exc):
            print(
                f"error: no space left ({shown_text(exc)}): free some, and run again; what was published stays.",
                file=sys.stderr,
            )
            return 2
        if is_not_writable(exc):
            why = shown_text(" ".join(str(exc).split()))
            print(f"error: the root cannot be written ({why}): give this user write access.", file=sys.stderr)
            return 2
        print(shown_text(traceback.format_exc()), file=sys.stderr, end="")
        print(f"error: {type(exc).__name__}: {shown_text(exc)}", file=sys.stderr)
        return 1


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error, or its cause, is a full disk: of a file, a table, or Dagster's database."""
    return _says(error, {errno.ENOSPC}, ("No space left", "disk is full"))


def is_not_writable(error: BaseException | None) -> bool:
    """Return whether an error, or its cause, is a disk that is read-only or a folder that this user must not write."""
    return _says(error, {errno.EROFS, errno.EACCES}, ("Read-only file system", "Permission denied"))


def _says(error: BaseException | None, numbers: Collection[int], texts: Collection[str]) -> bool:
    """Tell whether an error or one of its causes has one of some numbers, or says one of some texts."""
    while error is not None:
        if getattr(error, "errno", None) in numbers or any(text in str(error) for text in texts):
            return True
        error = error.__cause__ or error.__context__
    return False


if __name__ == "__main__":
    sys.exit(main())
