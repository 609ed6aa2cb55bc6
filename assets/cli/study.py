"""`lampworks study NAME`: experiments with their tables, plots and intervals."""

from __future__ import annotations

from types import ModuleType

from assets.cli import study_actions, study_cloning, study_coinrun, study_prompts, study_runs
from assets.cli.options import Parsers

_STUDIES: tuple[ModuleType, ...] = (study_runs, study_cloning, study_coinrun, study_prompts, study_actions)
"""Modules with a function `add_study(studies)`, which adds one command below `study`."""


def add_commands(commands: Parsers) -> None:
    """Add `study` and the studies below it."""
    study = commands.group(
        "study",
        "Repeat an experiment: its table, plot and intervals.",
        "Each study trains and measures small models, and writes JSON, drawings and a section of Markdown. What was\n"
        "measured is kept: after a kill the same command goes on.",
        "  lampworks study scaling --size toy\n  lampworks study curation --root DIR",
    )
    for module in _STUDIES:
        module.add_study(study)
