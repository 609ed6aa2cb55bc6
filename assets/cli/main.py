"""The command `lampworks`: runs, pages and questions about the data that Dagster's own commands do not cover.

    lampworks demo                       # the whole graph on the embedded source
    lampworks run --source folder:DIR    # the same graph on your videos
    lampworks ui                         # Dagster's pages on the same root

Exit codes: 0 success, 1 something failed, 2 something to fix on your side (the message says what), 130 stopped.
"""

from __future__ import annotations

import argparse
import errno
import sys
import traceback
from collections.abc import Collection, Sequence

from assets.cli import bench as cli_bench
from assets.cli import config as cli_config
from assets.cli import data as cli_data
from assets.cli import doctor as cli_doctor
from assets.cli import episodes as cli_episodes
from assets.cli import export as cli_export
from assets.cli import label as cli_label
from assets.cli import models as cli_models
from assets.cli import plan_scale as cli_plan_scale
from assets.cli import rebuild as cli_rebuild
from assets.cli import retry as cli_retry
from assets.cli import run as cli_run
from assets.cli import shards as cli_shards
from assets.cli import similar as cli_similar
from assets.cli import study as cli_study
from assets.cli import tabletop as cli_tabletop
from assets.cli import takedown as cli_takedown
from assets.cli import ui as cli_ui
from assets.cli import uncovered as cli_uncovered
from assets.cli.options import Parsers
from assets.cli.services import command as cli_services
from assets.logs import json_wanted, set_up_logging
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


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    top = argparse.ArgumentParser(
        prog="lampworks",
        description="From gameplay video to a playable world model, as one Dagster graph.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = Parsers(top.add_subparsers(title="commands", metavar="COMMAND", required=True))
    modules = (
        cli_run,
        cli_ui,
        cli_services,
        cli_label,
        cli_models,
        cli_data,
        cli_episodes,
        cli_tabletop,
        cli_export,
        cli_rebuild,
        cli_retry,
        cli_plan_scale,
        cli_shards,
        cli_similar,
        cli_uncovered,
        cli_takedown,
        cli_config,
        cli_doctor,
        cli_study,
        cli_bench,
    )
    for module in modules:
        module.add_commands(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    args = parser().parse_args(argv)
    set_up_logging(args.verbose, as_json=json_wanted(args.log_json))
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
