"""`lampworks models`, `evaluate` and `report`: training runs side by side, and pages about one of them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from assets.cli.options import Parsers, add_model_option, root_options, used_settings
from assets.report.wording import interval, metric_name, metric_unit, number, size
from assets.settings import Settings
from pipeline.config import EvaluationConfig
from pipeline.errors import UserError
from pipeline.feature_nets import LITE0, RANDOM, TRANSNET, check_names
from pipeline.inspect.runs import Figure, Run, lineage_lines, list_runs
from pipeline.model_choice import models_in_use
from pipeline.model_ids import WORLD
from pipeline.outside import shown_text

_MOST_SETTINGS = 12
ROLLOUT_NETS = (TRANSNET, LITE0, RANDOM)


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
    models.add_argument(
        "--json", action="store_true", help="print one JSON array; with --compare one object, with the page's path"
    )
    models.add_argument(
        "--compare", nargs="+", metavar="ID", help="write a page that compares two or more runs, and print its path"
    )
    evaluate = commands.add(
        "evaluate",
        run_evaluate,
        "Measure a world on held-out sources, or another project's rollouts in a folder.",
        "The configured world, or the one that --model names; metrics and pictures are published, and nothing is done\n"
        "where this evaluation is published. With --rollouts no root is read or written: DIR/true and DIR/generated\n"
        "hold videos (or folders of PNG frames) of the same names, and the figures are printed (docs/evaluation.md).",
        "  lampworks evaluate --model 3f0c --root DIR\n  lampworks evaluate --rollouts DIR --json",
    )
    add_model_option(evaluate)
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate.add_argument("--rollouts", metavar="DIR", help="judge the rollouts of this folder instead of a world")
    foreign = evaluate.add_argument_group("with --rollouts")
    foreign.add_argument(
        "--feature-net",
        action="append",
        metavar="NET",
        help=f"{', '.join(ROLLOUT_NETS)}, or file:PATH.pt; again for more (default: these three)",
    )
    foreign.add_argument(
        "--run-feature-files", action="store_true", help="allow file:PATH.pt, a program that is run as it was written"
    )
    foreign.add_argument("--seed", type=int, default=0, metavar="N", help="of all draws (default: %(default)s)")
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
        return _compare(settings, args.compare, as_json=args.json)
    if args.json:
        print(json.dumps([run.to_json() for run in runs], indent=2))
        return 0
    if not runs:
        print("no training run yet: `lampworks run` trains a tokenizer and a world")
    for run in runs:
        print("\n".join(_lines(run, root_options(args))))
    return 0


def run_evaluate(args: argparse.Namespace) -> int:
    """Evaluate a world, or a folder of rollouts, and print the metrics."""
    if args.rollouts is not None:
        return _judge(args)
    if args.feature_net or args.run_feature_files or args.seed:
        raise UserError(
            "--feature-net, --run-feature-files and --seed belong to --rollouts: of a world set "
            "evaluation.feature_nets, evaluation.run_feature_files and evaluation.seed (`lampworks run --set ...`)"
        )
    settings = used_settings(args)
    from assets.passes.lock import lock_home
    from models.evaluation.evaluate import evaluate

    with lock_home(settings.home, settings.store.root):
        found = evaluate(settings.job(), args.model)
    if args.json:
        print(json.dumps({"evaluation": found.evaluation_id, **found.metrics}, indent=2))
        return 0
    print("\n".join([*models_in_use(settings.store, settings.config, args.model).notes, *found.lines()]))
    print(f"evaluation {found.evaluation_id}" + (", published before" if found.skipped else ""))
    return 0


def _judge(args: argparse.Namespace) -> int:
    from models.evaluation.foreign.judge import judge_rollouts

    names = tuple(args.feature_net or ROLLOUT_NETS)
    check_names("--feature-net", names, run_files=args.run_feature_files)
    config = EvaluationConfig(feature_nets=names, run_feature_files=args.run_feature_files, seed=args.seed)
    found = judge_rollouts(Path(args.rollouts), config)
    print(json.dumps(found.as_json(), indent=2) if args.json else shown_text("\n".join(found.lines())))
    return 0


def run_report(args: argparse.Namespace) -> int:
    """Write the report and print where it is."""
    settings = used_settings(args)
    from assets.report.page import write_report

    print(settings.store.url(write_report(settings.store, settings.config, args.model)))
    return 0


def _compare(settings: Settings, names: Sequence[str], *, as_json: bool) -> int:
    from assets.report.compare import comparison_json, runs_to_compare, write_comparison

    if len(names) < 2:
        raise UserError("--compare needs two ids or more: `lampworks models` lists them.")
    page = settings.store.url(write_comparison(settings.store, settings.config, names))
    if as_json:
        runs = runs_to_compare(settings.store, settings.config, names)
        print(json.dumps({"page": page, **comparison_json(settings.store, runs)}, indent=2))
    else:
        print(page)
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
    for line, origin in enumerate(lineage_lines(run.lineage)):
        lines.append(_line("" if line else "lineage", origin))
    lines.append(_line("settings", _settings(run)))
    for line, (name, figure) in enumerate(run.figures.items()):
        text = f"{metric_name(name)}: {figure_text(figure)} {metric_unit(name)}"
        lines.append(_line("" if line else "metrics", text.rstrip()))
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
    return f"{number(figure.value)} {interval(figure.low, figure.high)}".rstrip()


def _line(name: str, text: str) -> str:
    return f"  {name:<9}  {text}"
