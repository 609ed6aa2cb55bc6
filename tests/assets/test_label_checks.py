"""The check of agreement: it warns where people differ, and few clips fail nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from assets.graph.label import agreement_check
from classifier.labels.agreement import measure_agreement
from pipeline.label_events import fold

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning")


def checked(num_clips: int, other: dict[int, int]) -> dg.AssetCheckResult:
    """Return the check of two people who rate 1 to 5 in turn; the second one changes ratings by `other`."""
    events = [
        {
            "event_id": f"{who}{number}", "clip_id": f"v{number}-000000000-ab", "annotator": who, "kind": "rate",
            "rating": change.get(number % 5 + 1, number % 5 + 1),
            "labelled_at": datetime(2026, 11, 20, tzinfo=UTC) + timedelta(seconds=number),
        }
        for who, change in (("ann", {}), ("bob", other))
        for number in range(num_clips)
    ]  # fmt: skip
    return agreement_check(measure_agreement(fold(events), {}), 0.667)


def test_people_who_agree_pass_and_the_figure_is_told() -> None:
    result = checked(40, {4: 5})
    assert result.passed
    assert result.description is not None
    assert result.description.startswith("Krippendorff's alpha 0.9")
    assert "40 clips of 40 videos" in result.description


def test_people_who_differ_are_a_warning_with_the_setting() -> None:
    result = checked(40, {5: 1, 1: 5})
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert result.description is not None
    assert "at least 0.667 is asked (labels.min_agreement)" in result.description


def test_a_few_clips_decide_nothing() -> None:
    result = checked(10, {5: 1, 1: 5})
    assert result.passed
    assert result.description == (
        "too few to tell: 10 clips of 10 videos were rated by several people, at least 20 of 5 are needed"
    )
