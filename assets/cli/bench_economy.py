"""`lampworks bench economy`: how the classifier gets better with each label, in a random and in an active order."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

from assets.cli.bench_classifier import groups_of
from assets.cli.options import bench_settings
from pipeline.errors import UserError

if TYPE_CHECKING:
    from classifier.economy.stored import EconomyPoint, LabelEconomy


def add_options(bench: argparse.ArgumentParser) -> None:
    """Add the options that only `economy` has."""
    bench.add_argument("--save", action="store_true", help="of economy: store the result in the root, for the report")


def run_economy(args: argparse.Namespace) -> int:
    """Measure and print."""
    from classifier.economy.measure import label_economy
    from classifier.economy.stored import ECONOMY_KEY, save_economy
    from classifier.pool import load_pool
    from classifier.training.examples import load_examples
    from classifier.training.train import rated_clips

    for name, least in (("folds", 2), ("repeats", 1)):
        if getattr(args, name) < least:
            raise UserError(f"--{name} = {getattr(args, name)}: must be at least {least}")
    settings = bench_settings(args)
    config = dataclasses.replace(settings.config.classifier, folds=args.folds)
    pool = load_pool(settings.store, settings.config)
    examples = load_examples(pool, rated_clips(pool), config, frozenset({"features"}))
    grouped_by = "source"
    if args.groups:
        examples = examples.grouped(groups_of(pool, examples, args.groups))
        grouped_by = args.groups.rpartition(":")[2]
    economy = label_economy(examples, config, repeats=args.repeats, grouped_by=grouped_by)
    if args.save:
        save_economy(settings.store, economy)
    if args.json:
        print(json.dumps(economy))
        return 0
    print("\n".join(economy_lines(economy)))
    if args.save:
        print(f"saved as {settings.store.url(ECONOMY_KEY)}: `lampworks report` shows it")
    return 0


def economy_lines(economy: LabelEconomy) -> list[str]:
    """Return the result as a table, for a person."""
    at = {(point["order"], point["labels"]): point for point in economy["points"]}
    gains = {gain["labels"]: gain["gain"] for gain in economy["gains"]}
    kept = f"precision of the best {economy['kept_share']:.0%}"
    lines = [
        f"{economy['clips']} rated clips of {economy['sources']} groups by {economy['grouped_by']}, "
        f"{economy['good_share']:.0%} of them good; {economy['folds']} folds, drawn {economy['repeats']} times; 95 % "
        "intervals over groups",
        _row("", "AUC, good against bad", "", "", kept, ""),
        _row("labels", "random order", "active order", "active less random", "random order", "active order"),
    ]
    for labels in sorted({point["labels"] for point in economy["points"]}):
        random, active, gain = at[("random", labels)], at[("active", labels)], gains.get(labels)
        told = "" if gain is None else _figure(gain["difference"], gain["interval"], sign="+")
        lines.append(_row(str(labels), _auc(random), _auc(active), told, _precision(random), _precision(active)))
    found = economy["points"][0]["auc"]
    if found["few"]:
        lines.append(
            f"too few to tell: {found['good']} good clips of {found['good_sources']} groups and {found['bad']} bad "
            f"ones of {found['bad_sources']}; at least 20 of 5 on each side are needed"
        )
    return lines


def _row(labels: str, *cells: str) -> str:
    return f"  {labels:<8}{''.join(f'{cell:<25}' for cell in cells)}".rstrip()


def _auc(point: EconomyPoint) -> str:
    return _figure(point["auc"]["auc"], point["auc"]["interval"])


def _precision(point: EconomyPoint) -> str:
    return _figure(point["keep_precision"], point["keep_interval"])


def _figure(value: float | None, interval: tuple[float, float] | None, sign: str = "") -> str:
    if value is None:
        return "undefined"
    shown = "" if interval is None else f" ({interval[0]:{sign}.2f} to {interval[1]:{sign}.2f})"
    return f"{value:{sign}.2f}{shown}"
