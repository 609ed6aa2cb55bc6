"""`lampworks study NAME` of the studies that are lists of runs: arms by seeds, compared with intervals."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from assets.cli.options import Parsers, add_study_options, used_settings
from assets.report.charts import curves_chart, intervals_chart
from assets.report.study import Chart, Study, Table, section, write_study
from models.studies.catalogue import STUDIES
from models.studies.cells import on_days
from models.studies.study import Curves, Finished, Intervals, Scope, Size
from pipeline.errors import UserError

if TYPE_CHECKING:
    from models.studies.study import Report
    from models.studies.study import Study as Runs


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
    report = runs.report(finished)
    study = _study(args, runs, report, finished)
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


def _study(args: argparse.Namespace, runs: Runs, report: Report, finished: Sequence[Finished]) -> Study:
    command = _command(args)
    machines = ", ".join(sorted({each.result["machine"] for each in finished}))
    # results of older versions have no date
    when = on_days(each.result["date"] for each in finished if "date" in each.result)
    seeds = ", ".join(str(seed) for seed in sorted({each.run.seed for each in finished}))
    known = [each.result["cpu_s"] for each in finished if each.result["cpu_s"] is not None]
    more = f" ({len(finished) - len(known)} more were stopped and went on)" if len(known) < len(finished) else ""
    on = getattr(args, "on", None)
    about = {"study": runs.name, "data": runs.data(), "command": command, "machine": machines, "seeds": args.seeds}
    return Study(
        name=runs.name if on is None else f"{runs.name}-{on}",
        title=runs.title if on is None else f"{runs.title} On: {on}",
        about=runs.about,
        command=command,
        conditions=f"{machines}{when}; {sum(known) / 60:.1f} CPU-minutes for {len(known)} runs{more}, "
        f"beside what runs share; seeds {seeds} of each arm; data: "
        f"{runs.data()}. Brackets are 95 % intervals: over seeds by Student's t, unless another is named.",
        found=report.sentences,
        tables=[Table(table.title, table.header, table.rows) for table in report.tables],
        charts=[_chart(f"{number}", chart) for number, chart in enumerate(report.charts, 1)],
        figures={**about, "found": list(report.sentences), **report.figures},
    )


def _command(args: argparse.Namespace) -> str:
    """Return the command that repeats a study, without where its files go: a page names no folder of this machine."""
    size = "" if args.size == "toy" else f" --size {args.size}"
    seeds = "" if args.seeds == 3 else f" --seeds {args.seeds}"
    steps = "" if args.steps is None else f" --steps {args.steps}"
    on = f" --on {args.on}" if getattr(args, "on", None) else ""
    root = " --root DIR" if STUDIES[args.study].reads_clips else ""
    return f"lampworks study {args.study}{size}{seeds}{steps}{on}{root}"


def _chart(name: str, chart: Curves | Intervals) -> Chart:
    if isinstance(chart, Curves):
        drawing = curves_chart(
            chart.series, bands=chart.bands, x_label=chart.x_label, log_x=chart.log_x, label=chart.title
        )
        return Chart(name, chart.title, drawing, list(chart.series))
    ends = [end for _, value, low, high in chart.rows for end in (value, low, high) if end is not None]
    ends += [] if chart.mark is None else [chart.mark]
    room = 0.05 * (max(ends) - min(ends)) or 0.5
    drawing = intervals_chart(
        chart.rows, low=min(ends) - room, high=max(ends) + room, mark=chart.mark, label=chart.title
    )
    return Chart(name, chart.title, drawing)
