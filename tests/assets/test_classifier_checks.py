"""The checks of the asset `quality_classifier`: evidence fails them, too little evidence does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from assets.graph.curate import classifier_checks
from classifier.training.auc import Sides, auc_metrics, paired_difference
from classifier.training.reliability import calibration_metrics
from pipeline.config import ClassifierConfig

RATINGS = np.array([5, 1, 4, 2] * 30)
RNG = np.random.default_rng(0)
STRONG, WEAK = RATINGS + RNG.normal(0, 0.5, 120), RNG.normal(0, 1, 120)
GROUPS = [f"s{index // 6:02d}" for index in range(120)]


def metrics(published: np.ndarray, motion: np.ndarray, probability: np.ndarray, count: int = 120) -> Any:
    """Return the metrics that the checks read, on the first `count` clips."""
    sides, groups = Sides.of_ratings(RATINGS[:count], 4), GROUPS[:count]
    pair = paired_difference(published[:count], motion[:count], sides, groups)
    low = pair["interval"][0] if pair["interval"] else None
    return {
        "headline": auc_metrics(published[:count], sides, groups),
        "candidates": [
            {"name": "measurements", "reference": False, "below_published": None},
            {"name": "motion_alone", "reference": True, "below_published": pair},
        ],
        "beats_reference": None if pair["few"] or low is None else low > 0,
        "calibration": calibration_metrics(
            probability[:count], sides.good_N, np.ones(count), groups, method="platt", weights="none"
        ),
    }


def verdicts(found: Any, floor: float = 0.7) -> dict[str, tuple[bool, str]]:
    checks = classifier_checks(found, ClassifierConfig(min_auc=floor))
    return {str(check.check_name): (check.passed, str(check.description)) for check in checks}


RIGHT = np.where(RATINGS >= 4, 0.9, 0.1)


def test_a_good_classifier_passes_and_its_checks_say_on_what_evidence() -> None:
    found = verdicts(metrics(STRONG, WEAK, RIGHT))
    assert all(passed for passed, _ in found.values())
    assert "120 clips of 20 sources" in found["auc_floor"][1]
    assert found["against_references"][1] == "beats every reference"


def test_motion_that_is_better_beyond_chance_and_probabilities_that_are_wrong_fail() -> None:
    found = verdicts(metrics(WEAK, STRONG, 1 - RIGHT), floor=0.9)
    assert {name: passed for name, (passed, _) in found.items()} == {
        "auc_floor": False, "calibration": False, "against_references": False,
    }  # fmt: skip
    assert found["against_references"][1] == "better beyond chance: motion_alone"


def test_level_is_told_as_level_and_fails_nothing() -> None:
    assert verdicts(metrics(STRONG, STRONG, RIGHT))["against_references"] == (True, "is level with the best reference")


@pytest.mark.parametrize("count", [12, 36])
def test_too_few_clips_fail_nothing_and_say_so(count: int) -> None:
    found = verdicts(metrics(WEAK, STRONG, 1 - RIGHT, count), floor=0.99)
    assert all(passed for passed, _ in found.values())
    assert "too few to tell" in found["auc_floor"][1]
    assert "too few to tell" in found["calibration"][1]
    assert found["against_references"][1] == "too few to tell"
