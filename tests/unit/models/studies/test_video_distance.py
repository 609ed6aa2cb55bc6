"""Frechet video distances of two worlds on the same held-out sources, and what their difference says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.evaluation.held_out import HeldOutClip
from models.features.net import FeatureNet
from models.studies.study import Finished, Scope
from models.studies.tokenizers import TokenizerStudy
from models.studies.video_distance import distance_difference, distance_name, mean_distance, video_distance
from pipeline.config import EvaluationConfig

CONFIG = EvaluationConfig(fidelity_frames=6, fidelity_draws=20, prompt_frames=1, maskgit_steps=1)
NET = FeatureNet("colours", "0" * 64, 18, "any", "video", lambda video: video.float().mean((2, 3)).flatten(1))


def of_world(world: Any, clips: Sequence[HeldOutClip], *, wrong: bool) -> dict[str, Any]:
    codes = [np.ones_like(clip.actions) if wrong else clip.actions for clip in clips]
    return video_distance(world, clips, codes, CONFIG, NET)  # type: ignore[arg-type]


@pytest.fixture
def distances(make_ring_world: Callable[[], Any], ring_clips: list[HeldOutClip]) -> dict[str, dict[str, Any]]:
    torch.manual_seed(0)
    world = make_ring_world()
    return {name: of_world(world, ring_clips, wrong=name == "wrong") for name in ("right", "wrong")}


def test_a_world_that_goes_wrong_is_further_away_than_its_floor_and_a_right_one_is_not(
    distances: dict[str, dict[str, Any]],
) -> None:
    right, wrong = distances["right"], distances["wrong"]
    assert distance_name(right) == "FVD[colours]"
    assert (right["num_sources"], right["num_videos"], right["frames"]) == (9, 18, 6)
    assert right["value"] == pytest.approx(right["tokenizer"], abs=1e-6)
    assert wrong["value"] > wrong["tokenizer"] + 1e-3
    assert len(wrong["by_half"]) == CONFIG.fidelity_draws
    # the floor of halves is of true videos alone
    assert right["halves"] == wrong["halves"] > 0


def test_the_difference_counts_over_seeds_and_over_sources_and_its_sign_says_which_is_better(
    distances: dict[str, dict[str, Any]],
) -> None:
    right, wrong = ([distances[name]] * 3 for name in ("right", "wrong"))
    by_seed, by_source, said = distance_difference(wrong, right)
    assert said == "worse"
    assert by_seed["value"] == pytest.approx(wrong[0]["value"] - right[0]["value"])
    assert by_source["num_sources"] == 9
    assert 0 < by_source["low"] <= by_seed["value"] <= by_source["high"]
    assert distance_difference(right, wrong)[2] == "better"
    assert distance_difference(right, right)[2] == "not told apart"
    # seeds that disagree leave it open, and so do two seeds
    open_seeds = [distances["wrong"], distances["right"], distances["right"]]
    assert distance_difference(open_seeds, right)[2] == "not told apart"
    assert distance_difference(wrong[:2], right[:2])[2].startswith("too few to tell (2 seeds")
    assert mean_distance(right)["value"] == pytest.approx(right[0]["value"])


def test_too_few_sources_have_no_distance(make_ring_world: Callable[[], Any], ring_clips: list[HeldOutClip]) -> None:
    few = of_world(make_ring_world(), ring_clips[:3], wrong=False)
    assert (few["value"], few["by_half"]) == (None, [])
    by_seed, _, said = distance_difference([few], [few])
    assert by_seed["value"] is None
    assert said == "too few to tell: 3 held-out sources, and 4 are needed for halves of them"
    assert mean_distance([few])["value"] is None


def test_the_paper_table_has_parameters_memory_distance_with_floors_and_control(
    distances: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    study = TokenizerStudy(Scope(tmp_path, size="tiny"))
    keys = {figure.key for figure in study.figures}
    values = {"parameters": {"tokenizer": 1000, "dynamics": 10}, "memory_mb": 3.2, "cpu_s": 1.0, "machine": "one"}
    finished = [
        Finished(run, {**values, **{key: [20.0 + run.seed] * 9 for key in keys}, "distance": own})
        for run in study.runs()
        for own in [distances["right" if run.arm == "st_vivit" else "wrong"]]
    ]
    report = study.report(finished)
    table = report.tables[0]
    assert table.header[1:4] == ["parameters", "memory, MB", "FVD[colours]"]
    by_arm = {row[0]: row for row in table.rows}
    assert by_arm["st_vivit"][1:3] == ["1,000", "3"]
    assert by_arm["vit"][3].startswith(f"{distances['wrong']['value']:.2f}")
    assert report.sentences[0].startswith("FVD[colours]: vit less st_vivit is +")
    assert report.sentences[0].endswith("over sources): worse.")
    assert [row[-1] for row in report.tables[2].rows if row[1] == "FVD[colours]"] == ["worse", "worse"]
    assert "SHA-256 000000000000" in report.sentences[-1]
    assert "Fewer vectors than features" not in report.sentences[-1]
