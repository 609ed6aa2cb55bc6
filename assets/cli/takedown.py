"""`lampworks takedown`: remove a video or a channel from everything, and print the receipt."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Literal

from assets.cli.options import Parsers, root_options, used_settings
from assets.settings import Settings
from pipeline.outside import shown_text
from pipeline.takedown.receipt import Receipt

_HOW = {
    "trained": "was trained on it",
    "measured": "was measured with it",
    "built": "is built on a model that was trained on it",
    "unknown": "may have been trained on it (nothing is left that says what its shards held)",
}
_SHOWN = 20


def add_commands(commands: Parsers) -> None:
    """Add `takedown`."""
    takedown = commands.add(
        "takedown",
        run_takedown,
        "Remove a video or a channel from the whole root, and print what had seen it.",
        "Raw file, clips, frames, labels, scores, samples of training shards, pictures and rows go at once, out of\n"
        "old versions of tables too; no search brings it back. The receipt says which models had seen it and how to\n"
        "train again without it. A takedown that was stopped is finished by the same command. Exit code: 0 when all\n"
        "is gone, 1 when something is left (the receipt names it), 2 for a name that cannot be used.",
        "  lampworks takedown https://youtu.be/dQw4w9WgXcQ --reason 'asked by its owner' --root DIR\n"
        "  lampworks takedown UCuAXFkgsw1L7xaCfnd5JJOw --reason 'asked by the channel' --dry-run --root DIR",
    )
    takedown.add_argument(
        "name", nargs="?", metavar="NAME", help="id, URL or file name of a video; or id, URL or name of a channel"
    )
    target = takedown.add_mutually_exclusive_group()
    target.add_argument("--video", metavar="NAME", help="a video, where NAME could be a channel too")
    target.add_argument("--channel", metavar="NAME", help="a channel: all its videos, and those of later searches")
    takedown.add_argument("--reason", metavar="TEXT", help="who asked, and when; names in it are taken out")
    takedown.add_argument("--dry-run", action="store_true", help="list what would go, delete nothing")
    takedown.add_argument("--json", action="store_true", help="print the receipt as one JSON object")


def run_takedown(args: argparse.Namespace) -> int:
    """Take a video or a channel down."""
    from pipeline.errors import UserError

    given = [name for name in (args.name, args.video, args.channel) if name is not None]
    if len(given) != 1:
        raise UserError("name what is to be taken down, once: `lampworks takedown NAME --reason TEXT`")
    if not args.dry_run and not (args.reason or "").strip():
        raise UserError("--reason is missing: say who asked, and when")
    settings = used_settings(args)
    from pipeline.takedown.receipt import unfinished_receipts
    from pipeline.takedown.takedown import plan_takedown, take_down
    from pipeline.takedown.targets import find_target

    kind: Literal["video", "channel"] | None
    kind = "video" if args.video is not None else "channel" if args.channel is not None else None
    target = find_target(settings.store, given[0], kind)
    if args.dry_run:
        plan = plan_takedown(settings.job(), target)
        print(json.dumps(plan, indent=1) if args.json else "\n".join(_planned(plan)))
        return 0
    pages = _pages(settings)
    receipt = take_down(settings.job(), target, args.reason)
    if args.json:
        print(json.dumps(receipt.to_json(), indent=1))
    else:
        # before anything is drawn: what is gone is told whatever happens then
        print(shown_text("\n".join(_told(receipt, known=target.is_known, command=_command(args)))))
        for other in unfinished_receipts(settings.store):
            if other.takedown_id != receipt.takedown_id:
                when = other.requested_at[:16].replace("T", " ")
                print(_line("unfinished", f"a takedown of {when}: run it again with the same name"))
    for key in _redraw(settings, pages, receipt):
        if not args.json:
            print(_line("page", f"{key} is made again"))
    return 0 if receipt.finished else 1


def _command(args: argparse.Namespace) -> str:
    return f"lampworks run{root_options(args)}"


def _pages(settings: Settings) -> set[str]:
    """Return the keys of the pages that are there and that a command can make again."""
    return set(settings.store.list_blobs("reports"))


def _redraw(settings: Settings, before: set[str], receipt: Receipt) -> list[str]:
    """Make the report and the contact sheets again that were deleted; return the keys of those that are there."""
    from assets.report.contact_sheets import FOLDER as SHEETS
    from assets.report.contact_sheets import draw_sheet
    from assets.report.page import FOLDER, write_report

    store, gone = settings.store, [key for key in receipt.pages if key in before]
    made = []
    for key in gone:
        if key.startswith(f"{SHEETS}/") and key.endswith(".jpg"):
            batch = key.removeprefix(f"{SHEETS}/").removesuffix(".jpg")
            made += [drawn] if (drawn := draw_sheet(store, settings.config, batch)) else []
    if f"{FOLDER}/index.html" in gone:
        made.append(write_report(store, settings.config))
    return made


# -- text ---------------------------------------------------------------------------------------------------------


def _planned(plan: dict[str, object]) -> Iterator[str]:
    """Yield what a takedown would delete, a line each."""
    known = f"{plan['videos']} known video{'' if plan['videos'] == 1 else 's'}"
    yield f"a {plan['kind']} with {known}; nothing is deleted (--dry-run)"
    rows, blobs, held = plan["rows"], plan["blobs"], plan["shard_versions"]
    assert isinstance(rows, dict)
    assert isinstance(blobs, list)
    assert isinstance(held, dict)
    for table, count in rows.items():
        yield _line("rows", f"{count} of table {table}")
    for key in blobs:
        yield _line("blob", str(key))
    for version, splits in held.items():
        yield _line("shards", f"version {version}: tars of {', '.join(splits)}")
    for name, label in (
        ("models", "had seen it"),
        ("pages", "page"),
        ("packed", "packed world"),
        ("home_files", "home"),
    ):
        found = plan[name]
        assert isinstance(found, list)
        for one in found:
            yield _line(label, str(one))
    yield _line("label events", str(plan["label_events"]))


def _told(receipt: Receipt, *, known: bool, command: str) -> Iterator[str]:
    """Yield the receipt, a line each."""
    gone = sum(receipt.blobs.values()) + sum(receipt.rows.values()) + receipt.samples + receipt.label_events
    if not known and not gone:
        yield f"nothing is known of this {receipt.kind}; the tombstone keeps it out if a later search finds it"
    else:
        yield f"{receipt.kind} taken down" + ("" if receipt.finished else ", but not everything is gone yet")
    yield _line("receipt", f"takedowns/{receipt.takedown_id}.json")
    for table, count in receipt.rows.items():
        yield _line("rows", f"{count} of table {table} deleted")
    for folder, count in receipt.blobs.items():
        yield _line("files", f"{count} of {folder}/ deleted")
    if receipt.bytes:
        yield _line("bytes", f"{receipt.bytes:,}")
    if receipt.label_events:
        yield _line("journal", f"{receipt.label_events} label events deleted")
    if receipt.recordings:
        yield _line(
            "recordings", f"{receipt.recordings} files of the embedded source deleted; it is not recorded again"
        )
    if receipt.rows_changed + receipt.documents + receipt.home_files:
        yield _line(
            "names",
            f"taken out of {receipt.rows_changed} other rows, {receipt.documents} documents and {receipt.home_files} "
            "files of the home",
        )
    if receipt.samples:
        yield _line("shards", f"{receipt.samples} samples out of {len(receipt.tars_rewritten)} tars rewritten")
        yield _line("", f"version {receipt.shards_before} -> {receipt.shards_after}")
        yield _line("", "a training that runs now may go on with what it has loaded; end it, and start it again")
    if receipt.token_clips:
        yield _line("tokens", f"those of {receipt.token_clips} clips out of token shards")
    for version, splits in receipt.shard_versions.items():
        yield _line("", f"version {version} held it in {', '.join(splits)}")
    yield from _pages_told(receipt)
    for folder in receipt.packed:
        yield _line("packed world", f"{folder} is deleted; `{command}` packs it again without it")
    yield from _models_told(receipt, command)
    for place in receipt.left[:_SHOWN]:
        yield _line("left", place)
    for sentence in receipt.out_of_reach:
        yield _line("out of reach", sentence)


def _pages_told(receipt: Receipt) -> Iterator[str]:
    for page in receipt.pages:
        if page.endswith((".html", ".jpg")):
            yield _line("page", f"{page} is deleted")
    if "reports/spot-check.html" in receipt.pages:
        yield _line("", "the spot check showed it and is deleted; `lampworks spot-check` draws another")


def _models_told(receipt: Receipt, command: str) -> Iterator[str]:
    for model in receipt.models:
        yield _line("had seen it", f"{model.kind} {model.model_id} {_HOW[model.how]}")
    for folder in receipt.unfinished_runs:
        yield _line("had seen it", f"checkpoints in {folder}; `lampworks gc --checkpoints` deletes them")
    for kind, model_id in receipt.last_unseen.items():
        yield _line("had not", f"{kind} {model_id} is the last that had not seen it")
    if receipt.models:
        missing = sorted({one.kind for one in receipt.models} - receipt.last_unseen.keys() - {"world_evaluation"})
        for kind in missing:
            yield _line("had not", f"no {kind}")
        yield _line("train again", f"`{command}`: decides, trains and evaluates again without it")


def _line(name: str, text: str) -> str:
    return f"  {name:<14}{text}"
