"""A new classifier takes the place of the published one, unless that one is better beyond chance."""

from __future__ import annotations

import numpy as np

from classifier.training.auc import Sides, auc_metrics, is_few, paired_difference
from classifier.training.promotion import contest
from classifier.training.train import below_floor
from classifier.training.weights import clip_weights, inclusion_of
from pipeline.config import ClassifierConfig

RATINGS = np.array([5, 1, 4, 2] * 30)
SIDES = Sides.of_ratings(RATINGS, 4)
GROUPS = [f"s{index // 6:02d}" for index in range(120)]
RNG = np.random.default_rng(0)
STRONG = RATINGS + RNG.normal(0, 0.5, 120)
WEAK = RNG.normal(0, 1, 120)


def test_a_published_classifier_that_is_better_beyond_chance_stays() -> None:
    found = contest("old", STRONG, WEAK, SIDES, GROUPS)
    assert not found["replaced"]
    assert found["why"].startswith("old stays published: it is better than the new one beyond chance")
    assert found["difference"]["interval"][1] < 0
    assert found["champion_auc"]["auc"] > found["challenger_auc"]["auc"]


def test_one_that_is_only_level_is_replaced() -> None:
    found = contest("old", STRONG, STRONG, SIDES, GROUPS)
    assert found["replaced"]
    assert found["difference"]["difference"] == 0
    assert "not better beyond chance" in found["why"]


def test_a_handful_of_common_clips_keeps_no_classifier() -> None:
    found = contest("old", STRONG[:30], WEAK[:30], Sides(SIDES.good_N[:30], SIDES.bad_N[:30]), GROUPS[:30])
    assert found["replaced"]
    assert "too few clips that neither learned from" in found["why"]
    nothing = contest("old", STRONG[:0], WEAK[:0], Sides(SIDES.good_N[:0], SIDES.bad_N[:0]), [])
    assert (nothing["replaced"], nothing["difference"]) == (True, None)


def test_a_difference_is_told_apart_where_the_intervals_of_both_overlap() -> None:
    # both vary from source to source together: common draws see the difference
    hard = np.repeat(RNG.normal(0, 2, 20), 6)
    worse, better = RATINGS + hard, RATINGS + 0.8 * hard
    one, two = (auc_metrics(score, SIDES, GROUPS)["interval"] for score in (worse, better))
    assert one[1] > two[0], "the intervals overlap"
    assert paired_difference(better, worse, SIDES, GROUPS)["interval"][0] > 0


def test_few_means_fewer_than_20_clips_or_5_sources_on_a_side() -> None:
    assert not is_few(20, 20, 5, 5)
    assert is_few(19, 20, 5, 5)
    assert is_few(20, 20, 5, 4)
    # the middle is on no side
    found = auc_metrics(STRONG, Sides.of_ratings(np.array([5, 3, 3, 1] * 30), 4), GROUPS)
    assert (found["clips"], found["good"], found["bad"], found["few"]) == (60, 30, 30, False)


def test_good_ratings_that_reach_down_leave_the_bad_side_disjoint() -> None:
    sides = Sides.of_ratings(np.array([1, 2, 3, 4, 5]), 2)
    assert not (sides.good_N & sides.bad_N).any()
    assert sides.bad_N.tolist() == [True, False, False, False, False]


def test_the_floor_refuses_only_what_cannot_reach_it_on_enough_clips() -> None:
    weak, few = (
        auc_metrics(WEAK, SIDES, GROUPS),
        auc_metrics(WEAK[:30], Sides(SIDES.good_N[:30], SIDES.bad_N[:30]), GROUPS[:30]),
    )
    upper = weak["interval"][1]
    assert below_floor({"headline": weak}, ClassifierConfig(min_auc=upper + 0.01))
    assert not below_floor({"headline": weak}, ClassifierConfig(min_auc=upper - 0.01))
    assert not below_floor({"headline": few}, ClassifierConfig(min_auc=1.0))


def test_a_clip_stands_for_as_many_as_its_chance_of_being_drawn_says() -> None:
    weight, kind = clip_weights(["a", "b"], {"a": 0.5, "b": 0.1})
    assert (kind, round(weight[1] / weight[0], 9)) == ("inclusion", 5)
    weight, kind = clip_weights(["a", "b", "c"], {"a": 0.5, "b": 0.1})
    assert (kind, weight[2]) == ("part", 1)
    assert clip_weights(["a"], {})[1] == "none"
    assert clip_weights(["a", "b", "c"], {"a": 1.0, "b": 1.0, "c": 1e-9})[0].max() < 21
    events = {"x": {"ann": {"inclusion": 0.2}, "bob": {"inclusion": None}}, "y": {"ann": {}}}
    assert inclusion_of(events) == {"x": 0.2}
