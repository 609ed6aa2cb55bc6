"""The keep threshold: estimates that can be worked out by hand, and advice that does what it says."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from classifier.decision.advice import advice, precision_text
from classifier.decision.threshold import KeepThreshold, RatedScores, choose_threshold
from pipeline.config import DecisionConfig

POOL = np.linspace(0, 1, 1001)


def rated(good: str, *, clips_a_source: int = 2, start: float = 0.99, step: float = 0.005) -> RatedScores:
    """Return rated clips from the best score on, `g` good and `b` bad, a few of each source."""
    probabilities = start - step * np.arange(len(good))
    sources = [f"s{index // clips_a_source}" for index in range(len(good))]
    return RatedScores(probabilities, np.array([letter == "g" for letter in good]), sources)


def chosen(clips: RatedScores, **rule: object) -> KeepThreshold:
    return choose_threshold(clips, DecisionConfig(**rule), POOL, len(POOL))


def warning(clips: RatedScores, **rule: object) -> str:
    return advice(chosen(clips, **rule), DecisionConfig(**rule))


def test_the_threshold_is_the_lowest_one_whose_estimate_reaches_the_target():
    # 27 of the best 30 are good, and the 31st is bad
    clips = rated("g" * 20 + "bbb" + "g" * 7 + "b" * 20)
    found = chosen(clips)
    assert (found["rule"], found["reached"]) == ("target precision", True)
    assert found["threshold"] == pytest.approx(clips.probability_N[29])
    assert (found["kept"], found["good"], found["precision"]) == (30, 27, 0.9)
    assert (found["clips"], found["sources"], found["kept_sources"], found["recall"]) == (50, 25, 15, 1.0)
    assert found["bound"] < found["expected"] <= found["precision"]
    low, high = found["interval"]
    assert low < found["bound"] < high
    assert warning(clips) == ""


def test_no_threshold_rests_on_fewer_than_twenty_clips():
    # the best 19 are good, the 20th to 24th are bad: a share of 19 would be 1, but says little
    found = chosen(rated("g" * 19 + "bbbbb"), target_precision=0.94)
    assert (found["kept"], found["precision"], found["rule"]) == (20, 0.95, "target precision")
    found = chosen(rated("g" * 9 + "bb" + "g" * 8 + "b" * 20))
    assert (found["kept"], found["rule"], found["reached"]) == (20, "best precision", False)


def test_no_threshold_lies_below_the_probability_from_which_clips_are_dropped():
    # 48 good clips from 0.99 down, 4 bad ones at 0.1: to keep all would reach the target
    many = rated("g" * 48 + "b" * 4)
    clips = replace(many, probability_N=np.where(many.good_N, many.probability_N, 0.1 - many.probability_N / 100))
    found = chosen(clips)
    assert (found["kept"], found["precision"], found["recall"]) == (48, 1.0, 1.0)
    # of draws that choose anew, none keeps them either
    assert found["interval"][0] > chosen(clips, drop_below=0.0)["interval"][0]
    assert chosen(clips, drop_below=0.0)["kept"] == 52


def test_the_bound_asks_for_more_than_the_estimate():
    clips = rated("g" * 60 + "b" * 3 + "g" * 10 + "b" * 20)
    estimate, bound = chosen(clips), chosen(clips, confidence=0.95)
    assert (bound["rule"], bound["reached"]) == ("lower bound", True)
    assert bound["threshold"] > estimate["threshold"]
    assert bound["bound"] >= 0.9 > estimate["bound"]
    # a bound of all-good clips is no 1: sources that no label shows may be bad
    assert chosen(rated("g" * 40 + "b" * 20))["bound"] < 1


def test_clips_of_one_source_make_the_interval_wider():
    letters = "ggggb" * 8 + "b" * 20
    single, many = rated(letters, clips_a_source=1), rated(letters, clips_a_source=10)
    wide, narrow = (chosen(clips, target_precision=0.75) for clips in (many, single))
    assert wide["precision"] == narrow["precision"]
    assert wide["bound"] < narrow["bound"]
    assert wide["interval"][0] < narrow["interval"][0]
    assert chosen(replace(single, groups_N=["one"] * 60))["interval"] is None, "one source says nothing of others"


def test_where_no_threshold_reaches_the_target_the_best_share_is_kept_and_the_labels_it_names_would_do():
    clips = rated("ggggb" * 6 + "b" * 20)
    found, text = chosen(clips), warning(clips)
    # 17 of 21 and 20 of 25 are worse than 16 of 20... the deepest of the best counts
    assert (found["rule"], found["reached"], found["kept"] >= 20) == ("best precision", False, True)
    assert found["precision"] == max(np.cumsum(clips.good_N)[19:] / np.arange(20, 51))
    assert "no keep threshold reaches decision.target_precision = 0.9: the best, 20 or more rated" in text
    labels, from_score = re.search(r"(\d+) more labels? would do, .* of score ([0-9.]+) or more", text).groups()
    # rate as many clips from that score on, all of them good, of other sources
    added = np.full(int(labels), float(from_score) + 0.001)
    more = RatedScores(
        np.concatenate([clips.probability_N, added]), np.concatenate([clips.good_N, added > 0]),
        [*clips.groups_N, *(f"new{index}" for index in range(len(added)))],
    )  # fmt: skip
    assert chosen(more)["reached"] is True
    fewer = RatedScores(more.probability_N[:-1], more.good_N[:-1], more.groups_N[:-1])
    assert chosen(fewer)["reached"] is False
    # or ask for what the labels reach
    (reachable,) = re.search(r"Or set decision.target_precision = ([0-9.]+)\.", text).groups()
    assert chosen(clips, target_precision=float(reachable))["reached"] is True


def test_the_labels_that_a_bound_needs_would_do():
    clips = rated("g" * 24 + "b" * 20)
    text = warning(clips, confidence=0.9)
    assert "at 90% confidence" in text
    labels, from_score = re.search(r"(\d+) more labels? would do, .* of score ([0-9.]+) or more", text).groups()
    added = np.full(int(labels), float(from_score) + 0.001)
    more = RatedScores(
        np.concatenate([clips.probability_N, added]), np.concatenate([clips.good_N, added > 0]),
        [*clips.groups_N, *(f"new{index // 2}" for index in range(len(added)))],
    )  # fmt: skip
    assert chosen(more, confidence=0.9)["reached"] is True
    (reachable,) = re.search(r"Or set decision.target_precision = ([0-9.]+)\.", text).groups()
    assert chosen(clips, confidence=0.9, target_precision=float(reachable))["reached"] is True


def test_labels_are_asked_of_clips_that_are_there():
    clips = rated("ggggb" * 6 + "b" * 20)
    config = DecisionConfig()
    few = choose_threshold(clips, config, POOL, len(POOL), POOL[POOL < 0.9])
    assert few["needed"]["from_score"] < 0.9
    assert few["needed"]["left"] >= few["needed"]["labels"] > chosen(clips)["needed"]["labels"]
    none = choose_threshold(clips, config, POOL, len(POOL), np.zeros(0))
    assert "0 such clips are left, so add videos" in advice(none, config)


def test_where_no_clip_scores_as_high_as_the_threshold_the_best_share_is_kept():
    clips, low, config = rated("g" * 30 + "b" * 30), POOL[POOL < 0.5], DecisionConfig()
    found = choose_threshold(clips, config, low, len(low))
    assert (found["rule"], found["reached"]) == ("keep rate", False)
    assert np.count_nonzero(low >= found["threshold"]) == round(0.124 * len(low))
    text = advice(found, config)
    assert "no clip that may be kept scores as high as these. Kept instead are the best-scored 12.4% of the" in text
    assert "more labels" not in text
    assert choose_threshold(clips, DecisionConfig(threshold=0.9), low, len(low))["threshold"] == 0.9


def test_with_fewer_than_twenty_rated_clips_a_share_is_kept_and_it_says_so():
    clips = rated("ggggggggbbbb")
    found = chosen(clips)
    assert (found["rule"], found["reached"]) == ("keep rate", False)
    assert np.count_nonzero(found["threshold"] <= POOL) == round(0.124 * len(POOL))
    assert "12 clips are rated, and a threshold needs 20 above it. Kept instead are the best-scored 12.4%" in warning(
        clips
    )
    nothing = chosen(RatedScores(np.zeros(0), np.zeros(0, bool), []))
    assert (nothing["precision"], nothing["interval"], nothing["needed"]) == (None, None, None)
    assert "0 clips are rated" in warning(RatedScores(np.zeros(0), np.zeros(0, bool), []))


def test_the_fallback_may_be_a_share_of_the_clips():
    clips = rated("ggggb" * 6 + "b" * 20)
    found = chosen(clips, fallback="keep-rate", fallback_keep_rate=0.3)
    assert (found["rule"], found["reached"]) == ("keep rate", False)
    assert np.count_nonzero(found["threshold"] <= POOL) == 300
    assert chosen(rated("g" * 30), fallback="keep-rate")["rule"] == "target precision"


def test_a_keep_rate_and_a_fixed_threshold_are_taken_as_they_are_with_the_same_estimates():
    clips = rated("g" * 30 + "b" * 30)
    fixed, share = chosen(clips, threshold=0.85), chosen(clips, keep_rate=0.124)
    assert (fixed["rule"], fixed["threshold"], fixed["reached"]) == ("fixed", 0.85, None)
    assert (fixed["kept"], fixed["good"]) == (29, 29)
    assert (share["rule"], np.count_nonzero(share["threshold"] <= POOL)) == ("keep rate", 124)
    assert warning(clips, threshold=0.85) == warning(clips, keep_rate=0.124) == ""
    # at least one clip is kept, however few there are
    assert choose_threshold(clips, DecisionConfig(keep_rate=0.124), np.array([0.2, 0.4]), 2)["threshold"] == 0.4
    assert chosen(clips, threshold=1.0)["precision"] is None
    assert "is not known" in precision_text(chosen(clips, threshold=1.0))


def test_clips_that_stand_for_many_count_as_many_and_the_depth_counts_clips():
    # the bad ones among the best were looked for: each stands for a tenth of what the others do
    clips = rated("ggggb" * 6 + "b" * 20)
    weighted = replace(clips, weight_N=np.where(np.arange(50) % 5 == 4, 0.1, 1.0))
    assert chosen(clips)["reached"] is False
    found = chosen(weighted)
    assert (found["reached"], found["kept"], found["good"]) == (True, 32, 24)
    assert found["precision"] == pytest.approx(24 / 26.6)
    deep = chosen(replace(clips, weight_N=np.full(50, 0.1)))
    same = chosen(clips)
    assert (deep["kept"], deep["precision"]) == (same["kept"], pytest.approx(same["precision"]))
    # in the draws of the interval too: where all count alike, their weight changes nothing
    assert deep["interval"] == pytest.approx(same["interval"], abs=0.01)
    assert deep["expected"] == pytest.approx(same["expected"], abs=0.01)


def test_clips_of_one_probability_fall_on_one_side():
    found = chosen(RatedScores(np.full(40, 0.6), np.arange(40) < 39, [f"s{index}" for index in range(40)]))
    assert (found["threshold"], found["precision"]) == (0.6, 39 / 40)


def test_ten_thousand_labels_are_chosen_from_256_thresholds():
    rng = np.random.default_rng(0)
    probability = rng.random(10_000)
    clips = RatedScores(probability, rng.random(10_000) < probability, [f"s{n}" for n in rng.integers(0, 500, 10_000)])
    found = chosen(clips, target_precision=0.8)
    assert found["threshold"] == pytest.approx(0.6, abs=0.03)
    assert found["interval"][0] < 0.8 < found["interval"][1]
    assert found["interval"][1] - found["interval"][0] < 0.06
