"""`lampworks retry`: make what failed due again, so that the next `lampworks run` tries it."""

from __future__ import annotations

import argparse
import dataclasses
import json

from assets.cli.options import Parsers, root_options, used_settings
from pipeline.outside import shown_values

_ONE = {
    "pages": "page", "downloads": "download", "cuts": "cut", "actions": "sidecar of actions", "embeddings": "embedding",
    "scores": "score",
}  # fmt: skip
_MANY = {"actions": "sidecars of actions"}


def add_commands(commands: Parsers) -> None:
    """Add `retry`."""
    retry = commands.add(
        "retry",
        run_retry,
        "Make what failed due again: pages, downloads, cuts, sidecars of actions, embeddings and scores.",
        "Without an ID or a class: everything that failed. A download has all its attempts again. One that waits for\n"
        "its next try is tried at once where it is named, by its ID or its class. `lampworks run` tries what is due.",
        "  lampworks retry --class invalid_media --root DIR\n  lampworks retry level-1.mp4 --root DIR",
    )
    retry.add_argument("ids", nargs="*", metavar="ID", help="videos or clips, as `lampworks why` takes them")
    retry.add_argument(
        "--class", action="append", default=[], dest="classes", metavar="C", help="an error class; may be given again"
    )
    retry.add_argument("--json", action="store_true", help="print one JSON object")


def run_retry(args: argparse.Namespace) -> int:
    """Make failed items due again and say how many of which class."""
    settings = used_settings(args)
    from assets.passes.lock import lock_home
    from pipeline.inspect.retry import retry_failed

    with lock_home(settings.home, settings.store.root):
        made = retry_failed(settings.job(), args.ids, classes=args.classes)
    if args.json:
        items = [dataclasses.asdict(item) for item in made.items]
        found = {"due": made.counts, "items": items, "not_failed": list(made.not_failed), "left": made.left}
        print(json.dumps(shown_values(found), indent=2))
        return 0
    for name in made.not_failed:
        print(f"{name}: nothing of it failed (`lampworks why {name}{root_options(args)}` shows its state)")
    for kind, classes in made.counts.items():
        count = sum(classes.values())
        listed = ", ".join(f"{number} {name}" for name, number in classes.items())
        print(f"{count} {_ONE[kind] if count == 1 else _MANY.get(kind, kind)} due again: {listed}")
    if made.items:
        print(f"`lampworks run{root_options(args)}` tries them")
    elif not made.not_failed:
        print("nothing has failed: nothing is due again")
    return 0
