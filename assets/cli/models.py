"""`lampworks models`, `evaluate` and `report`: training runs side by side, and pages about one of them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from assets.cli.options import Parsers, add_model_option, root_options, used_settings
from assets.report.wording import metric_name, metric_unit, size
from assets.settings import Settings
from pipeline.errors import UserError
from pipeline.inspect.runs import Figure, Run, lineage_lines, list_runs
from pipeline.model_choice import models_in_use
from pipeline.model_ids import WORLD

_MOST_SETTINGS = 12


def add_commands(commands: Parsers) -> None:
    """Add `models`, `evaluate` and `report`."""
    models = commands.add(
        "models",
        run_models,
        "List the training runs: tokenizers, worlds, and runs that are not finished.",
        "Id, time, steps, settings that differ from the configured ones, metrics with their intervals, size on disk,\n"
        "and whether the configuration stands for it. An id can be given by its unique start wherever one is asked\n"
        "for. With --compare, a page shows runs side by side: settings, metrics, curves, rollouts.",
        "  lampworks models --root DIR\n  lampworks models --compare 3f0c 9ab1 --root DIR",
    )
    models.add_argument("--json", action="store_true", help="print one JSON array")
    models.add_argument(
        "--compare", nargs="+", metavar="ID", help="write a page that compares two or more runs, and print its path"
    )
    evaluate = commands.add(
        "evaluate",
        run_evaluate,
        "Measure a world on held-out sources, and publish its metrics and pictures.",
        "The configured world, or the one that --model names. Nothing is done where this evaluation is published.",
        "  lampworks evaluate --model 3f0c --root DIR",
    )
    add_model_option(evaluate)
    report = commands.add(
        "report",
        run_report,
        "Write the HTML report, and print its path.",
        "Of the configured models, as `lampworks run` does, or of the world that --model names (a page of its own).",
        "  lampworks report --model 3f0c --root DIR",
    )
    add_model_option(report)


def run_models(args: argparse.Namespace) -> int:
    """Print the runs, or write the page that compares some of them."""
    settings = used_settings(args)
    runs = list_runs(settings.store, settings.config)
    if args.compare:
        return _compare(settings, args.compare)
    if args.json:
        print(json.dumps([run.to_json() for run in runs], indent=2))
        return 0
    if not runs:
        print("no training run yet: `lampworks run` trains a tokenizer and a world")
    for run in runs:
        print("\n".join(_lines(run, root_options(args))))
    return 0


def run_evaluate(args: argparse.Namespace) -> int:
    """Evaluate a world and print its metrics."""
    settings = used_settings(args)
    from assets.passes.lock import lock_home
    from models.evaluation.evaluate import evaluate

    with lock_home(settings.home, settings.store.root):
        found = evaluate(settings.job(), args.model)
    print("\n".join([*models_in_use(settings.store, settings.config, args.model).notes, *found.lines()]))
    print(f"evaluation {found.evaluation_id}" + (", published before" if found.skipped else ""))
    return 0


def run_report(args: argparse.Namespace) -> int:
    """Write the report and print where it is."""
    settings = used_settings(args)
    from assets.report.page import write_report

    print(settings.store.url(write_report(settings.store, settings.config, args.model)))
    return 0


def _compare(settings: Settings, names: Sequence[str]) -> int:
    from assets.report.compare import write_comparison

    if len(names) < 2:
        raise UserError("--compare needs two ids or more: `lampworks models` lists them.")
    print(settings.store.url(write_comparison(settings.store, settings.config, names)))
    return 0


def _lines(run: Run, options: str) -> list[str]:
    kind = run.kind.replace("_", " ")
    state = "in use" if run.in_use else "" if run.state == "published" else "not finished"
    lines = [f"{kind} {run.name}" + (f"  ({state})" if state else "")]
    at = f"{run.at:%Y-%m-%d %H:%M} UTC"
    if run.state == "published":
        lines.append(_line("trained", f"{at}, {run.steps:,} steps, {run.parameters or 0:,} parameters"))
    else:
        lines.append(_line("reached", f"step {run.steps:,} of {run.planned_steps:,}, {at}"))
    for number, origin in enumerate(lineage_lines(run.lineage)):
        lines.append(_line("" if number else "lineage", origin))
    lines.append(_line("settings", _settings(run)))
    for number, (name, figure) in enumerate(run.figures.items()):
        text = f"{metric_name(name)}: {figure_text(figure)} {metric_unit(name)}"
        lines.append(_line("" if number else "metrics", text.rstrip()))
    if run.kind == WORLD and run.state == "published" and run.evaluation is None:
        command = f"lampworks evaluate --model {run.name}{options}"
        lines.append(_line("metrics" if not run.figures else "", f"not evaluated: `{command}` does it"))
    weights = f"{size(run.model_bytes)} of the model, " if run.model_bytes else ""
    lines.append(_line("disk", f"{weights}{size(run.checkpoint_bytes)} of checkpoints"))
    return lines


def _settings(run: Run) -> str:
    if not run.settings:
        return "not known (made by an older lampworks)"
    if not run.differs and run.run_id is None and run.state == "published":
        return "as configured, of an older lampworks: `lampworks run` trains a model of this one"
    if not run.differs:
        return (
            "as configured"
            if run.in_use or run.state == "unfinished"
            else "as configured, but for steps, shards or lineage"
        )
    shown = [
        f"{name} = {json.dumps(own)} (configured {json.dumps(configured)})"
        for name, (own, configured) in list(run.differs.items())[:_MOST_SETTINGS]
    ]
    more = len(run.differs) - len(shown)
    return f"\n{'':13}".join([*shown, *([f"and {more} more (`--json` has all)"] if more else [])])


def figure_text(figure: Figure) -> str:
    """Return a value with its interval, where it has one."""
    interval = "" if figure.low is None or figure.high is None else f" [{figure.low:.2f}, {figure.high:.2f}]"
    return f"{figure.value:.2f}{interval}"


def _line(name: str, text: str) -> str:
    return f"  {name:<9}  {text}"
