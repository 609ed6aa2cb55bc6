"""A study makes each run once: one that was killed goes on with what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from models.studies.runner import make_runs, name_of
from models.studies.study import Finished, Report, Run, Study
from pipeline.config.world import DynamicsConfig
from pipeline.progress import ProgressCallback


class Colours(Study):
    """Two arms and two seeds; dies in a run that it is told."""

    name, version, title, about = "colours", 1, "Do colours help?", ""

    def __init__(self, dies_at: int = -1, steps: int = 10) -> None:
        self.dies_at, self.steps, self.made, self.ended = dies_at, steps, [], 0  # type: ignore[var-annotated]

    def runs(self) -> list[Run]:
        return [Run(arm, seed, {"steps": self.steps}) for arm in ("grey", "colour") for seed in (0, 1)]

    def run(self, run: Run, say: ProgressCallback) -> dict[str, Any]:
        if len(self.made) == self.dies_at:
            raise KeyboardInterrupt
        self.made.append((run.arm, run.seed))
        return {"psnr": [20.0 + run.seed, None]}

    def end(self) -> None:
        self.ended += 1

    def report(self, finished: Sequence[Finished]) -> Report:
        return Report(["yes"])


def test_a_killed_study_makes_only_the_runs_that_are_missing(tmp_path: Path) -> None:
    killed = Colours(dies_at=3)
    with pytest.raises(KeyboardInterrupt):
        make_runs(killed, tmp_path)
    again = Colours()
    finished = make_runs(again, tmp_path)
    assert (killed.made, killed.ended) == ([("grey", 0), ("grey", 1), ("colour", 0)], 0)
    assert (again.made, again.ended) == ([("colour", 1)], 1)
    assert [each.result["psnr"] for each in finished] == [[20.0, None], [21.0, None]] * 2
    assert all(each.result["machine"] and each.result["cpu_s"] >= 0 for each in finished)
    complete = Colours()
    assert make_runs(complete, tmp_path) == finished
    assert complete.made == []


def test_runs_of_other_data_or_of_another_version_are_others(tmp_path: Path) -> None:
    make_runs(Colours(), tmp_path)
    newer, other = Colours(), Colours()
    newer.version = 2
    other.data = lambda: "more clips"  # type: ignore[method-assign]
    for study in (newer, other):
        make_runs(study, tmp_path)
        assert len(study.made) == 4


def test_a_result_is_of_its_arm_seed_and_settings_alone() -> None:
    runs = [
        Run("grey", 0, {"steps": 10}),
        Run("grey", 1, {"steps": 10}),
        Run("colour", 0, {"steps": 10}),
        Run("Grey", 0, {"steps": 10}),
        Run("grey", 0, {"steps": 11}),
        Run("grey", 0, {"step": 10}),
        Run("grey", 0, {"dynamics": DynamicsConfig()}),
        Run("grey", 0, {"dynamics": DynamicsConfig(batch=3)}),
    ]
    assert len({name_of(run) for run in runs}) == len(runs)
    assert name_of(Run("grey", 0, {"dynamics": DynamicsConfig(batch=3)})) == name_of(runs[-1])
