"""`lampworks study NAME`: experiments with their tables, plots and intervals."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType

from assets.cli.options import Parsers

_STUDIES: tuple[ModuleType, ...] = ()
"""Modules with a function `add_study(studies)`, which adds one command below `study`."""


def add_commands(commands: Parsers) -> None:
    """Add `study` and the studies below it."""
    study = commands.group(
        "study",
        "Repeat an experiment: its table, plot and intervals.",
        "Each study trains and measures small models, and writes JSON, drawings and a section of Markdown. What was\n"
        "measured is kept: after a kill the same command goes on.",
    )
    for module in _STUDIES:
        module.add_study(study)


def add_study_options(command: argparse.ArgumentParser, name: str) -> None:
    """Add the options that say where a study's results go."""
    group = command.add_argument_group("results")
    group.add_argument(
        "--out", type=Path, default=Path("build/studies") / name, metavar="DIR",
        help="folder of JSON, drawings and what was measured so far (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--page", type=Path, metavar="FILE", help="Markdown page whose section about this study is written anew"
    )
