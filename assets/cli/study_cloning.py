"""`lampworks study cloning`: behaviour cloning with latent actions, played in the embedded game (Genie, appendix E)."""

from __future__ import annotations

import argparse
import json
import sys

from assets.cli.options import Parsers, add_model_option, add_study_options, used_settings
from assets.report.study import section, write_study
from assets.report.study_of_cloning import study_of_cloning
from pipeline.errors import UserError


def add_study(studies: Parsers) -> None:
    """Add `cloning`."""
    command = studies.add(
        "cloning",
        run_cloning,
        "Learn a policy from an expert's videos by latent actions, and play it in the true game.",
        "A scripted expert plays the embedded platformer. The frozen LAM of a trained world names its transitions, a\n"
        "policy learns them, and 10 to 200 labelled transitions translate latent to true actions. The policy plays\n"
        "levels that no recording shows, beside an oracle that learned true actions, a player that only runs, and a\n"
        "random one. About two minutes of one core for three seeds.",
        "  lampworks study cloning --root DIR --page docs/studies.md",
    )
    add_model_option(command)
    command.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds of each arm (%(default)s)")
    command.add_argument("--levels", type=int, default=24, metavar="N", help="levels that are played (%(default)s)")
    command.add_argument(
        "--episodes", type=int, default=60, metavar="N", help="levels that the expert records (%(default)s)"
    )
    command.add_argument("--steps", type=int, default=300, metavar="N", help="training steps of a policy (%(default)s)")
    command.add_argument(
        "--labels", default="10,25,50,100,200", metavar="N,N,...", help="labelled transitions (default: %(default)s)"
    )
    command.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    add_study_options(command, "cloning")


def run_cloning(args: argparse.Namespace) -> int:
    """Measure what is missing, write the study, and print its section."""
    from models.runtime.compute import choose_compute, intra_op_threads
    from models.studies.cells import Cells
    from models.studies.cloning import CloningSettings, inputs_of, study_cloning
    from models.world.load import load_world

    wanted = CloningSettings(
        seeds=args.seeds, levels=args.levels, episodes=args.episodes, steps=args.steps, labels=_numbers(args.labels)
    )
    settings = used_settings(args)
    compute = choose_compute(settings.config.training)
    # products are small: two threads would wait for each other at every one
    with intra_op_threads():
        world = load_world(settings.store, args.model or settings.config, compute)
        cells = Cells(args.out, inputs_of(world, wanted))
        found = study_cloning(world, wanted, cells, on_progress=_print_progress)
    study = study_of_cloning(found, wanted, world.model_id, f"lampworks study cloning{_options(args)}", cells.days)
    written = write_study(study, args.out, page=args.page)
    print(json.dumps(study.figures) if args.json else section(study), flush=True)
    print(f"written: {', '.join(map(str, written))}", file=sys.stderr)
    return 0


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as exc:
        raise UserError(f"--labels {text!r}: give whole numbers with commas between, as 10,50,200") from exc


def _options(args: argparse.Namespace) -> str:
    given = "".join(f" --{name} {getattr(args, name)}" for name in ("seeds", "levels", "episodes", "steps", "labels"))
    model = f" --model {args.model}" if args.model else ""
    return f" --root DIR{model}{given}"


def _print_progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
