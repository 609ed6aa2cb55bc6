"""Commands about the data: status, why, spot-check, gc, reconcile, arcade."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from assets.cli.options import Parsers, used_settings
from pipeline.errors import UserError
from pipeline.outside import shown_text, shown_values


def add_commands(commands: Parsers) -> None:
    """Add the commands about the data."""
    status = commands.add(
        "status",
        run_status,
        "Show the funnel from found videos to the model's metrics, and whether all totals balance.",
        "Counts come from the tables alone. `conserved` is false where a video or clip is in no state, or in two.",
        "  lampworks status --root DIR --json | jq .curated",
    )
    status.add_argument("--json", action="store_true", help="print one JSON object")
    why = commands.add(
        "why",
        run_why,
        "Say whether a video, clip, channel or file is in it, and show everything that is known of it.",
        "Query, rule, attempts, flags, labels, score, decision, shards, models. Several matches are listed. A file is\n"
        "compared by its bytes, then by its pictures. Exit code: 0 when it is in, 1 when it is not, 2 for a name that\n"
        "several have.",
        "  lampworks why folder-level-1-0123456789 --root DIR\n"
        "  lampworks why 'https://youtu.be/dQw4w9WgXcQ' --root DIR\n  lampworks why my-video.mp4 --root DIR",
    )
    why.add_argument(
        "id",
        metavar="NAME",
        help="a video id or clip id, the unique start of one, a URL, a channel's id, URL or name, or a file",
    )
    why.add_argument("--json", action="store_true", help="print one JSON object")
    spot = commands.add(
        "spot-check",
        run_spot_check,
        "Draw a page of random videos that the search rules kept and rejected, per keyword.",
        "Thumbnail, title, deciding rule and link of a few videos each: what the keywords bring in and throw away.\n"
        "A picture that cannot be fetched is marked as missing.",
        "  lampworks spot-check --per-keyword 6 --seed 1 --root DIR",
    )
    spot.add_argument(
        "--per-keyword", type=int, default=4, metavar="N", help="most kept and rejected videos each (%(default)s)"
    )
    spot.add_argument("--seed", type=int, default=0, metavar="S", help="another seed shows others (%(default)s)")
    gc = commands.add(
        "gc",
        run_gc,
        "Delete blobs that no row names, and unfinished files of killed processes.",
        "No reader sees such blobs; this frees their space. With --checkpoints, those of trainings go too: abandoned\n"
        "runs cannot be resumed then, and finished ones not be extended. Published models are never touched, nor is a\n"
        "run that may be in progress.",
        "  lampworks gc --dry-run --root DIR\n  lampworks gc --checkpoints --keep last --root DIR",
    )
    gc.add_argument("--dry-run", action="store_true", help="list them, delete nothing")
    gc.add_argument("--checkpoints", action="store_true", help="free the checkpoints of trainings too")
    gc.add_argument(
        "--keep",
        choices=["last", "best"],
        help="with --checkpoints: keep the last one of every run, or of the best tokenizer and world alone",
    )
    commands.add(
        "reconcile",
        run_reconcile,
        "Rebuild the Dagster home from the store: batches as partitions, and what is materialized.",
        "The store is the truth. After moving a root to another machine, or losing its Dagster home, Dagster knows\n"
        "nothing of it; this registers it again.",
        "  lampworks reconcile --root s3://bucket/lampworks",
    )
    arcade = commands.add(
        "arcade",
        run_arcade,
        "Record games played on this machine as videos: as many hours as you like.",
        "The embedded source's own recorder. The same seed gives the same videos; what is there already is kept.",
        "  lampworks arcade --videos 200 --seconds 60 --out recordings",
        root=False,
    )
    arcade.add_argument("--videos", type=int, default=45, metavar="N", help="recordings (default: %(default)s)")
    arcade.add_argument(
        "--seconds", type=float, default=50.0, metavar="S", help="typical length (default: %(default)s)"
    )
    arcade.add_argument("--seed", type=int, default=7, metavar="N", help="default: %(default)s")
    arcade.add_argument("--workers", type=int, default=0, metavar="N", help="processes, 0: one per core")
    arcade.add_argument("--out", required=True, metavar="DIR", help="folder to write to")


def run_status(args: argparse.Namespace) -> int:
    """Print the funnel."""
    settings = used_settings(args)
    from pipeline.inspect.status import status
    from pipeline.inspect.status_text import format_status

    found = status(settings.store, settings.config)
    print(json.dumps(shown_values(found.to_json()), indent=2) if args.json else format_status(found))
    return 0


def run_why(args: argparse.Namespace) -> int:
    """Print everything that is known of one video, clip, channel or file."""
    settings = used_settings(args)
    from pipeline.inspect.find_id import NotInItError
    from pipeline.inspect.why import why
    from pipeline.inspect.why_file import why_file
    from pipeline.inspect.why_text import format_why

    path = Path(args.id)
    try:
        if path.is_file():
            found = why_file(settings.store, settings.config, path)
        else:
            found = why(settings.store, settings.config, args.id)
    except NotInItError as exc:
        about = {"kind": "none", "id": args.id, "message": str(exc)}
        print(json.dumps(shown_values(about), indent=2) if args.json else f"not in it: {shown_text(exc)}")
        return 1
    print(json.dumps(shown_values(found), indent=2, default=str) if args.json else format_why(found))
    return 0


def run_spot_check(args: argparse.Namespace) -> int:
    """Draw the sheet and say where it is."""
    settings = used_settings(args)
    from pipeline.job import Job
    from pipeline.search.spot_check import write_spot_check

    key = write_spot_check(
        Job(settings.store, settings.config, settings.home), per_keyword=args.per_keyword, seed=args.seed
    )
    if key is None:
        raise UserError(
            f"no video of source {settings.config.source.kind!r} is in {settings.store.root}: "
            "run `lampworks run --select search_results` first."
        )
    print(settings.store.url(key))
    return 0


def run_gc(args: argparse.Namespace) -> int:
    """Delete what no row names."""
    settings = used_settings(args)
    if args.keep and not args.checkpoints:
        raise UserError(f"--keep {args.keep} says which checkpoints stay: give --checkpoints too.")
    from assets.passes.lock import lock_home
    from assets.report.wording import size
    from pipeline.inspect.gc import collect_garbage
    from pipeline.inspect.gc_checkpoints import collect_checkpoints

    done = "would be deleted" if args.dry_run else "deleted"
    with lock_home(settings.home, settings.store.root):
        keys = collect_garbage(settings.store, dry_run=args.dry_run)
        for key in keys:
            print(key)
        print(f"{len(keys)} blobs {'that no row names ' if args.checkpoints else ''}{done}")
        if args.checkpoints:
            found = collect_checkpoints(settings.store, keep=args.keep or "none", dry_run=args.dry_run)
            for key in found.keys:
                print(key)
            for sentence in found.kept:
                print(f"kept  {sentence}")
            print(
                f"checkpoints  {size(found.bytes_before)} before, {size(found.bytes_freed)} in {len(found.keys)} blobs "
                f"{done}, {size(found.bytes_before - found.bytes_freed)} kept"
            )
    return 0


def run_reconcile(args: argparse.Namespace) -> int:
    """Report to a Dagster home what the store holds."""
    settings = used_settings(args)
    from assets.passes.lock import lock_home
    from assets.passes.reconcile import reconcile

    with lock_home(settings.home, settings.store.root):
        found = reconcile(settings)
    print(f"{len(found.batches)} batches registered")
    for asset, count in found.reported.items():
        print(f"  {asset}: {count} reported as materialized")
    return 0


def run_arcade(args: argparse.Namespace) -> int:
    """Record games."""
    from pipeline.arcade.record import record_arcade
    from pipeline.config import ArcadeConfig

    if args.videos < 1 or args.seconds <= 0:
        raise UserError(f"--videos {args.videos}, --seconds {args.seconds:g}: both must be above zero.")
    config = ArcadeConfig(videos=args.videos, seconds=args.seconds, seed=args.seed)
    recordings = record_arcade(config, Path(args.out), workers=args.workers or None)
    print(f"{len(recordings)} recordings in {args.out}")
    return 0
