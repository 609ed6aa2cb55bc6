"""`lampworks plan-scale`: machines, days, terabytes, requests and money of many clips, by what was measured."""

from __future__ import annotations

import argparse
import dataclasses
import json

from assets.cli.options import Parsers, used_settings
from pipeline.outside import shown_text

_HELP = {
    "clips": "clips to plan for (55000000)",
    "days": "days in which it is to be done (30)",
    "cores": "cores of a machine (32)",
    "busy": "share of the time in which a core works (0.7)",
    "months": "months for which the bytes stay (3)",
    "core_hour": "price of an hour of one core (0.04)",
    "gpu_hour": "price of an hour of one GPU (2.5)",
    "terabyte_month": "price of a terabyte for a month (23)",
    "million_requests": "price of a million requests to the store (5)",
    "terabyte_in": "price of a terabyte that is downloaded (0)",
}


def add_commands(commands: Parsers) -> None:
    """Add `plan-scale`."""
    command = commands.add(
        "plan-scale",
        run_plan_scale,
        "Plan a collection of many clips from what this root's stages have cost.",
        "Every stage books what it uses at the end of each batch (table `costs`; `lampworks status` shows it). From\n"
        "these figures: CPU- and GPU-hours, bytes and requests of each stage for --clips, the machines that do it in\n"
        "--days, and money. Prices are inputs. Trainings do not grow with the hours, and are not in it:\n"
        "`lampworks run --plan` computes that from the settings.",
        "  lampworks plan-scale --root DIR --clips 55000000 --days 60 --cores 64 --core-hour 0.03",
    )
    for name, text in _HELP.items():
        kind = int if name in {"clips", "cores"} else float
        command.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N", help=text)
    command.add_argument("--drop-raw", action="store_true", help="downloaded files go once they are cut")
    command.add_argument("--json", action="store_true", help="print one JSON object")


def run_plan_scale(args: argparse.Namespace) -> int:
    """Plan and print."""
    from pipeline.costs.booking import scope_of
    from pipeline.costs.scale import Inputs, plan_scale, scale_lines
    from pipeline.costs.stages import stage_costs

    settings = used_settings(args)
    given = {name: value for name in _HELP if (value := getattr(args, name)) is not None}
    inputs = Inputs(**given, keep_raw=not args.drop_raw)
    plan = plan_scale(stage_costs(settings.store), scope_of(settings.store, settings.config), inputs)
    if args.json:
        print(json.dumps(dataclasses.asdict(plan) | {"total": dataclasses.asdict(plan.total)}))
        return 0
    for line in scale_lines(plan):
        print(shown_text(line))
    return 0
