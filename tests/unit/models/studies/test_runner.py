"""A study makes each run once: one that was killed goes on with what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.studies.arms import Figure, as_json, difference, differences_table
from models.studies.power_law import fit_power_law
from models.studies.runner import make_runs, name_of
from models.studies.scaling import _sentence
from models.studies.study import Finished, Report, Run, Scope, Study
from models.studies.worlds import Workshop
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
    assert all(each.result["machine"] for each in finished)
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


def test_the_time_of_a_run_is_its_own_and_not_known_where_it_was_stopped(tmp_path: Path) -> None:
    class Slow(Colours):
        def prepare(self, run: Run, say: ProgressCallback) -> None:
            clock[0] += 100.0

        def run(self, run: Run, say: ProgressCallback) -> dict[str, Any]:
            clock[0] += 3.0
            return super().run(run, say)

    clock = [0.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.studies.runner.time.process_time", lambda: clock[0])
        with pytest.raises(KeyboardInterrupt):
            make_runs(Slow(dies_at=1), tmp_path)
        finished = make_runs(Slow(), tmp_path)
    assert [each.result["cpu_s"] for each in finished] == [3.0, None, 3.0, 3.0]
    assert not list(tmp_path.rglob(".begun-*"))


def test_studies_of_other_versions_data_or_runs_keep_their_states_apart_and_delete_their_own_alone(
    tmp_path: Path,
) -> None:
    others = [Colours(), Colours(steps=11), Colours(), Colours()]
    others[2].version = 2
    others[3].data = lambda: "more clips"  # type: ignore[method-assign]
    folders = [Path(Workshop(Scope(tmp_path), study)._kept("world", "same").folder) for study in others]
    assert len(set(folders)) == len(others)
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    for cleared, study in enumerate(others, 1):
        Workshop(Scope(tmp_path), study).clear()
        assert [(tmp_path / folder).exists() for folder in folders] == [k >= cleared for k in range(len(folders))]
    assert not (tmp_path / "parts").exists()


def test_a_figure_without_sources_is_told_by_seeds_alone() -> None:
    finished = [
        Finished(Run(arm, seed, {}), {"ms": value + 0.01 * seed * value})
        for arm, value in (("one", 1.0), ("two", 2.0))
        for seed in range(3)
    ]
    figure = Figure("ms", "CPU-ms", "lower")
    found = difference(finished, "one", "two", figure)
    assert found.verdict == "better"
    assert "sources" not in found.sentence()
    assert as_json([found])[0]["by_source"] is None
    assert differences_table([found]).rows[0][3] == "-"
    assert difference(finished[:2] + finished[3:5], "one", "two", figure).verdict.startswith(
        "too few to tell (2 seeds;"
    )


def test_the_direction_of_scaling_is_not_told_of_few_seeds_or_levels() -> None:
    def said(seeds: int, sources: int) -> str:
        points = [(float(x), np.full((seeds, sources), 3.0 / x)) for x in (1, 2, 4)]
        return _sentence("size", fit_power_law(np.array([1.0, 2.0, 4.0]), [loss for _, loss in points]), points)

    assert "the held-out loss falls:" in said(3, 8)
    for few in ((1, 8), (3, 2)):
        assert "is too few to tell (" in said(*few)
        assert "falls:" not in said(*few)


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
