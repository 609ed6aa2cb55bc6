"""`lampworks shards`: the published training shards, read again to their last byte."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex

from assets.cli.options import Parsers, add_log_options, add_root_options, used_settings
from pipeline.outside import shown_text, shown_values


def add_commands(commands: Parsers) -> None:
    """Add `shards` with `verify` below it."""
    shards = commands.add(
        "shards",
        _usage,
        "Verify the training shards: every byte against the manifest.",
        "  lampworks shards verify [VERSION]    read every tar, index and card again; exit code 1 where one is damaged",
        "  lampworks shards verify --root s3://bucket/lampworks",
        root=False,
    )
    shards.set_defaults(parser=shards)
    below = shards.add_subparsers(title="actions", metavar="")
    verify = below.add_parser(
        "verify",
        help="Compare every byte of a set with its manifest.",
        description="Compare every tar, index, sample and data card of a set with the sizes and hashes of its "
        "manifest, and the manifest with the table. Object stores are read as a stream. Exit code 1 where something is "
        "damaged.",
        epilog="example:\n  lampworks shards verify --root DIR --json | jq .damaged",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verify.add_argument(
        "version", nargs="?", metavar="VERSION", help="a version, or its unique start (default: the published one)"
    )
    verify.add_argument("--json", action="store_true", help="print one JSON object")
    add_root_options(verify)
    add_log_options(verify)
    verify.set_defaults(handler=run_verify)


def _usage(args: argparse.Namespace) -> int:
    args.parser.print_help()
    return 2


def run_verify(args: argparse.Namespace) -> int:
    """Print what is damaged, and the commands that mend it."""
    settings = used_settings(args)
    from pipeline.shards.verify import verify_shards

    found = verify_shards(settings.store, args.version)
    mend = _mend(settings.store.root, found.published) if found.damaged else ""
    if args.json:
        print(json.dumps(shown_values(dataclasses.asdict(found) | {"mend": mend}), indent=2))
        return int(bool(found.damaged))
    counts = ", ".join(f"{count} {split}" for split, count in found.samples.items() if count)
    print(f"shards {found.version}: {found.tars} tars, {found.bytes:,} bytes, samples: {counts or 'none'}")
    for damage in found.damaged:
        print(f"damaged  {shown_text(damage.key)} {shown_text(damage.why)}")
    if found.damaged:
        print(f"mend     {mend}")
    else:
        print("whole    every byte is what the manifest says" + ("" if found.published else "; not the published set"))
    return int(bool(found.damaged))


def _mend(root: str, published: bool) -> str:
    option = f"--root {shlex.quote(root)}"
    if not published:
        return f"it is not the published set, which nothing reads: `lampworks gc {option}` deletes what no row names"
    return f"`lampworks doctor --mend {option}`, then `lampworks run --select training_shards {option}`"
