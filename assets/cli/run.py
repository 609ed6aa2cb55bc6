"""`lampworks demo`, `run` and `recurate`: a full pass without a browser, with progress and an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
import time
from pathlib import Path

from assets.cli.options import Parsers, add_set_option, root_options, settings_of, used_settings
from assets.logs import json_wanted
from assets.settings import Settings
from pipeline.errors import UserError
from pipeline.interrupts import noted_signals
from pipeline.model_ids import WORLD
from pipeline.outside import shown_text

_LOGGER = logging.getLogger(__name__)
_NEXT = {
    "play": "play the world in a browser",
    "ui": "the runs, checks and charts in Dagster",
    "label": "rate clips yourself, one key each",
    "status": "the funnel again",
}
"""Commands that a person may want after a pass."""


def add_commands(commands: Parsers) -> None:
    """Add `demo`, `run` and `recurate`."""
    demo = commands.add(
        "demo",
        run_demo,
        "Make a playable world from nothing, in about ten minutes on a laptop.",
        "Records games on this machine, publishes them on a loopback site, and takes them through the whole graph:\n"
        "search, download, clips, duplicates, labels, classifier, shards, tokenizer, world model, evaluation.\n"
        "A second run finds everything done; a stopped run continues from what was published.",
        "  lampworks demo --root ./lampworks-data",
    )
    run = commands.add(
        "run",
        run_pass,
        "Take a real source through the graph.",
        "Searches, fetches what is due, and makes whatever is out of date, upstream first. The root remembers source\n"
        "and settings, so the next `lampworks run` needs neither. Without --config the sizes are those of the demo\n"
        "preset, which a laptop trains; `--preset platformers` has the paper's.",
        "  lampworks run --root DIR --source folder:VIDEOS --labels ratings.csv\n"
        "  lampworks run --root DIR --select +clips         up to the clips, no labels needed\n"
        "  lampworks run --root DIR --plan                  what it would fetch, before anything is fetched",
    )
    run.add_argument("--source", metavar="SPEC", help="folder:DIR, urls:FILE, youtube or arcade (LAMPWORKS_SOURCE)")
    run.add_argument(
        "--preset",
        metavar="NAME",
        help="demo (default), coinrun, robotics, robotics-small, platformers or platformers-41m to -10.1b; a root that "
        "remembers another keeps its source and all that its data were made with",
    )
    run.add_argument(
        "--labels", metavar="FILE", help="CSV or Parquet of ratings to import before the classifier learns"
    )
    run.add_argument("--annotator", default="import", metavar="NAME", help="who rated them (default: %(default)s)")
    run.add_argument("--ablation-steps", type=int, metavar="N", help="training steps of each arm of curation_ablation")
    again = commands.add(
        "recurate",
        run_recurate,
        "Search again and decide again, up to the training shards; trains no world.",
        "New batches are fetched and cut, labels collected, and a challenger of the classifier is trained where they\n"
        "changed; it is published if it is better. Every clip is scored and decided, and the decision is audited. The\n"
        "summary says what entered the curated set and what left it. The schedule weekly_recuration does the same.",
        "  lampworks recurate --root DIR",
    )
    add_set_option(again)
    again.add_argument("--plan", action="store_true", help="print what it would fetch, and start nothing")
    for command in (demo, run):
        add_set_option(command)
        command.add_argument(
            "--select",
            metavar="ASSETS",
            action="append",
            help="a part of the graph: clips, +clips (with all upstream), clips+ (with all downstream), by commas",
        )
        command.add_argument(
            "--plan", action="store_true", help="print videos, bytes, hours and models, and start nothing"
        )


def run_demo(args: argparse.Namespace) -> int:
    """Run the demo preset."""
    args.preset = "demo"
    settings = settings_of(args)
    if settings.config.source.kind != "arcade":
        raise UserError(
            f"root {settings.store.root!r} belongs to source {settings.config.source.spec!r}: go on with `lampworks "
            f"run --root {shlex.quote(settings.store.root)}`, or give the demo a --root of its own."
        )
    return take_pass(args, settings)


def run_pass(args: argparse.Namespace) -> int:
    """Run the driver on a real source."""
    settings = settings_of(args)
    named = args.source or args.config or os.environ.get("LAMPWORKS_SOURCE") or os.environ.get("LAMPWORKS_CONFIG")
    if not named and not settings.config_path.is_file() and "source.spec" not in settings.origins:
        raise UserError(
            "name the source of videos: --source folder:DIR, urls:FILE, youtube, or arcade (games played here)."
        )
    if args.preset and settings.config.preset != args.preset:
        raise UserError(
            f"--preset {args.preset!r}: the configuration says {settings.config.preset!r}; change `preset:` in "
            f"{args.config or os.environ.get('LAMPWORKS_CONFIG')}."
        )
    labels = Path(args.labels) if args.labels else None
    if labels is not None and not labels.is_file():
        raise UserError(f"label file {args.labels!r} does not exist: check --labels.")
    return take_pass(args, settings, labels)


def run_recurate(args: argparse.Namespace) -> int:
    """Run the driver up to the training shards, on a root that holds something."""
    from assets.graph.jobs import UP_TO_SHARDS

    args.select = list(UP_TO_SHARDS)
    return take_pass(args, used_settings(args))


def take_pass(args: argparse.Namespace, settings: Settings, labels: Path | None = None) -> int:
    """Run one pass with `args.select`, or print its plan, and return the exit code."""
    if args.plan:
        from assets.passes.plan import format_plan, plan_pass

        print(shown_text(format_plan(plan_pass(settings, args.select))))
        return 0
    if labels is not None:
        from classifier.labels.label_file import check_label_file

        check_label_file(labels)
    start = time.monotonic()
    with noted_signals():
        from assets.passes.driver import PassOptions, full_pass
        from assets.passes.failures import PassError

        try:
            result = full_pass(
                settings,
                args.select,
                on_progress=_print_progress if not json_wanted(args.log_json) else _LOGGER.info,
                options=PassOptions(
                    labels=labels,
                    annotator=getattr(args, "annotator", "import"),
                    ablation_steps=getattr(args, "ablation_steps", None),
                ),
            )
        except PassError as exc:
            print(f"error: {shown_text(exc)}", file=sys.stderr)
            print(
                f"everything before it stays done. `lampworks ui{root_options(args)}` shows run {exc.run_id[:8]}; the "
                "same command continues from here.",
                file=sys.stderr,
            )
            return 2 if exc.by_user else 1
    if not result.runs:
        written = "the root remembers these settings" if result.settings_changed else "nothing was written"
        print(f"everything is done: nothing was started, {written}")
    _summary(args, settings, result.warnings, time.monotonic() - start)
    return 0


def _print_progress(text: str) -> None:
    # progress lines go to stderr too: their order is kept, and stdout is the summary alone
    print(shown_text(text), file=sys.stderr, flush=True)


def _summary(args: argparse.Namespace, settings: Settings, warnings: list[str], seconds: float) -> None:
    from assets.report.page import FOLDER
    from pipeline.inspect.status import status
    from pipeline.inspect.status_text import format_status

    found = status(settings.store, settings.config)
    print(format_status(found))
    for warning in warnings:
        print(f"warning: {shown_text(warning)}")
    key = f"{FOLDER}/index.html"
    if settings.store.exists(key):
        print(f"report: {settings.store.url(key)}")
    print(f"took {int(seconds // 60)}:{int(seconds % 60):02d}")
    # what `lampworks play` would load is the configured world
    offered = {f"lampworks {name}{root_options(args)}": text for name, text in _NEXT.items()
               if name != "play" or WORLD in found.models.in_use}  # fmt: skip
    width = max(map(len, offered))
    print("next:")
    for command, text in offered.items():
        print(f"  {command:<{width}}  {text}")
