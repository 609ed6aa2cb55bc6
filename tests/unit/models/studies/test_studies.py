"""Every study that draws its own levels runs to its report, and goes on where it was killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from models.studies.catalogue import STUDIES
from models.studies.runner import make_runs
from models.studies.study import Run, Scope, Study
from models.studies.world_arms import WorldArms
from pipeline.progress import ProgressCallback

DRAWN = [name for name, entry in STUDIES.items() if not entry.reads_clips]


def opened(name: str, folder: Path, seeds: int = 2) -> Study:
    return STUDIES[name].open(Scope(folder, None, "tiny", seeds))


@pytest.mark.parametrize("name", DRAWN)
def test_each_run_of_a_study_is_another_and_arms_share_what_is_not_compared(name: str, tmp_path: Path) -> None:
    study = opened(name, tmp_path)
    runs = study.runs()
    assert {run.seed for run in runs} == {0, 1}
    arms = {run.arm for run in runs}
    assert len(runs) == 2 * len(arms)
    assert len(arms) > 1
    of_arms = [[run.settings for run in runs if run.arm == arm] for arm in sorted(arms)]
    # a seed changes no setting but itself, and no two arms are the same
    assert all(one == other for one, other in of_arms)
    assert all(one[0] != other[0] for place, one in enumerate(of_arms) for other in of_arms[:place])
    assert not any(tmp_path.iterdir())


def test_arms_of_a_study_differ_in_what_it_compares_alone(tmp_path: Path) -> None:
    for name, section in (("tokenizers", "tokenizer"), ("lam-input", "latent_actions"), ("injection", "dynamics")):
        study = opened(name, tmp_path)
        assert isinstance(study, WorldArms)
        first, *others = study.arms()
        for arm in others:
            one, other = study.config(first, 0), study.config(arm, 0)
            differ = [part for part in ("tokenizer", "latent_actions", "dynamics", "evaluation", "training")
                      if getattr(one, part) != getattr(other, part)]  # fmt: skip
            assert differ == [section]


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_a_study_that_was_killed_goes_on_and_reports(name: str, tmp_path: Path) -> None:
    killed = opened(name, tmp_path, seeds=1)
    made: list[Run] = []
    killed.run = _dies_after(killed.run, 1, made)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        make_runs(killed, tmp_path)
    # what runs share is there for those that are missing
    assert list((tmp_path / "parts").iterdir())
    study = opened(name, tmp_path, seeds=1)
    again: list[Run] = []
    study.run = _dies_after(study.run, 99, again)  # type: ignore[method-assign]
    finished = make_runs(study, tmp_path)
    assert [run.arm for run in made + again] == [each.run.arm for each in finished]
    assert not (tmp_path / "parts").exists()
    report = study.report(finished)
    assert report.sentences
    assert all(len(row) == len(table.header) for table in report.tables for row in table.rows)
    assert report.charts
    for _, result in finished:
        for key in ("cross_entropy", "psnr_t1", "delta_t_psnr_permuted"):
            assert len(result[key]) == 2
            assert all(value is not None for value in result[key])
        # a frozen tokenizer would keep nothing for a backward pass
        assert name != "tokenizers" or result["memory_mb"] > 0
    assert report.figures


def _dies_after(
    run: Callable[[Run, ProgressCallback], dict[str, object]], count: int, made: list[Run]
) -> Callable[[Run, ProgressCallback], dict[str, object]]:
    def dying(one: Run, say: ProgressCallback) -> dict[str, object]:
        if len(made) == count:
            raise KeyboardInterrupt
        found = run(one, say)
        made.append(one)
        return found

    return dying
