"""The rule on one clip: the first reason that applies decides, and bounds belong to the upper side."""

from __future__ import annotations

import pytest

from classifier.decision.rule import Rule, Verdict
from pipeline.config import DecisionConfig
from pipeline.label_events import Labels


def rule(
    config: DecisionConfig | None = None, *, copies: dict[str, str] | None = None, rated: int | None = None
) -> Rule:
    """Return a rule that keeps from 0.8 on and drops below 0.3, with a person's rating of the clip `c`."""
    ratings = {} if rated is None else {"c": rated}
    labels = Labels(ratings=ratings, by_people=frozenset(ratings), annotators={}, unresolved=0, events={})
    return Rule(
        config=config or DecisionConfig(), good_rating=4, keep_from=0.8, drop_below=0.3, copies=copies or {},
        labels=labels,
    )  # fmt: skip


def scored(probability: float) -> dict[str, float]:
    return {"probability": probability}


@pytest.mark.parametrize(
    ("probability", "verdict"),
    [
        (0.8, Verdict("keep", "score 0.800 >= 0.800", "score")),
        (0.7999, Verdict("review", "score 0.799 between 0.300 and 0.800", "score between")),
        (0.3, Verdict("review", "score 0.300 between 0.300 and 0.800", "score between")),
        (0.29999, Verdict("drop", "score 0.299 < 0.300", "score")),
    ],
)
def test_a_probability_at_a_bound_is_on_its_upper_side_and_is_shown_rounded_down(probability, verdict):
    assert rule().decide("c", [], scored(probability)) == verdict


@pytest.mark.parametrize(("rated", "decision"), [(1, "drop"), (2, "drop"), (3, "review"), (4, "keep"), (5, "keep")])
def test_a_persons_rating_decides_except_in_the_middle(rated, decision):
    assert rule(rated=rated).decide("c", [], scored(0.5)).decision == decision


def test_a_copy_is_dropped_although_it_is_rated_good_and_a_good_rating_outweighs_a_flag():
    assert rule(copies={"c": "a"}, rated=5).decide("c", [], scored(0.9)).reason == "duplicate of a"
    assert rule(rated=5).decide("c", ["black"], scored(0.1)).decision == "keep"
    assert rule().decide("c", ["overlay", "black"], scored(0.9)) == Verdict("drop", "flag: black", "flag black")
    assert rule().decide("c", ["overlay"], scored(0.9)).decision == "keep"


def test_the_configuration_says_what_happens_between():
    for middle in ("drop", "keep", "review"):
        assert rule(DecisionConfig(middle=middle)).decide("c", [], scored(0.5)).decision == middle
