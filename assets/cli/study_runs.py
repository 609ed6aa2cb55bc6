"""`lampworks study NAME` of the studies that are lists of runs: arms by seeds, compared with intervals."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import get_args

from assets.cli.options import Parsers, add_study_options, used_settings
from assets.report.study import section, write_study
from assets.report.study_of_runs import study_of_runs
from models.studies.catalogue import STUDIES, study_command
from models.studies.study import Scope, Size
from pipeline.errors import UserError


def add_study(studies: Parsers) -> None:
    """Add each of them below `study`."""
    for name, entry in STUDIES.items():
        root = " --root DIR" if entry.reads_clips else ""
        command = studies.add(
            name,
            run_study,
            entry.summary,
            "Each arm is trained with several seeds. The result of each run is kept as soon as it is there, and a run\n"
            "that was stopped goes on from its last checkpoint. Expected at size toy: "
            f"{entry.toy_cpu_minutes:g} CPU-minutes.",
            f"  lampworks study {name}{root} --page docs/studies.md",
            root=entry.reads_clips,
        )
        command.set_defaults(study=name)
        command.add_argument(
            "--size", choices=get_args(Size), default="toy", help="tiny: seconds; toy: minutes (default); full: a GPU"
        )
        command.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds of each arm (3)")
        command.add_argument("--steps", type=int, metavar="N", help="most steps of each network (those of the size)")
        command.add_argument(
            "--threads", type=int, metavar="N", help="threads of each training (1; at size full those of the settings)"
        )
        if entry.reads_clips:
            command.add_argument(
                "--on", metavar="NAME",
                help="what the clips are of, in a word (a-z, 0-9, -): gives a section and a folder of its own",
            )  # fmt: skip
        command.add_argument("--json", action="store_true", help="print the figures as one JSON object")
        add_study_options(command, name)


def run_study(args: argparse.Namespace) -> int:
    """Make the runs that are missing, write the study, and print its section."""
    for name, value in (("seeds", args.seeds), ("steps", args.steps), ("threads", args.threads)):
        if value is not None and value < 1:
            raise UserError(f"--{name} = {value}: must be at least 1")
    _name_section(args)
    from models.studies.runner import make_runs

    entry = STUDIES[args.study]
    job = used_settings(args).job() if entry.reads_clips else None
    runs = entry.open(Scope(args.out, job, args.size, args.seeds, args.steps, args.threads))
    finished = make_runs(runs, args.out)
    on = getattr(args, "on", None)
    command = study_command(args.study, args.size, args.seeds, args.steps, on)
    study = study_of_runs(runs, runs.report(finished), finished, command, args.seeds, on)
    written = write_study(study, args.out, page=args.page)
    print(json.dumps(study.figures) if args.json else section(study), flush=True)
    print(f"written: {', '.join(map(str, written))}", file=sys.stderr)
    return 0


def _name_section(args: argparse.Namespace) -> None:
    """Check what the clips are said to be of, and give their results a folder beside those of other clips."""
    on = getattr(args, "on", None)
    if on is None:
        return
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", on):
        raise UserError(f"--on = {on!r}: write a word of a-z, 0-9 and -, such as recordings")
    if args.out == Path("build/studies") / args.study:
        args.out = args.out.with_name(f"{args.study}-{on}")
