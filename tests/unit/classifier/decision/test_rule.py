"""The rule: the first reason that applies decides, and bounds belong to the upper side."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from classifier.decision.hard_rules import FlagWords, check_flags, usable_shares
from classifier.decision.pool_state import PoolState
from classifier.decision.rows import Verdicts, reasons_of
from classifier.decision.rule import Verdict, hard_rules, outcomes, percentiles
from pipeline.config import DecisionConfig
from pipeline.errors import UserError
from pipeline.shards.loader.starts import free_starts


def pool(
    probabilities: list[float], *, flags: dict[int, list[str]] | None = None, rated: dict[int, int] | None = None,
    usable: dict[int, float] | None = None, group: list[int] | None = None, represents: list[bool] | None = None,
    sources: list[int] | None = None,
) -> PoolState:  # fmt: skip
    """Return clips with these probabilities; NaN for none. Ratings are a person's."""
    size, words = len(probabilities), FlagWords()
    ratings = np.array([(rated or {}).get(index, 0) for index in range(size)], np.int8)
    return PoolState(
        batches={"b": (size, "")}, errors=["unreadable_frames"], words=words,
        probability_P=np.array(probabilities, float),
        error_P=np.where(np.isnan(probabilities), 0, -1).astype(np.int32),
        flags_P=words.bits(pa.array([(flags or {}).get(index, []) for index in range(size)], pa.list_(pa.string()))),
        usable_P=np.array([(usable or {}).get(index, 1.0) for index in range(size)]),
        length_ms_P=np.full(size, 16000, np.int32), rating_P=ratings, by_people_P=ratings > 0,
        source_P=np.array(sources or range(size), np.int32), group_P=np.array(group or [-1] * size, np.int32),
        represents_P=np.array(represents or [False] * size), group_names=pa.array(["clip-0"]),
    )  # fmt: skip


def verdicts(state: PoolState, **rule: object) -> list[Verdict]:
    """Return the verdicts of a rule that keeps from 0.8 on and drops below 0.3."""
    config = DecisionConfig(**rule)
    hard = hard_rules(state, config, 4)
    found = Verdicts(
        state=state, config=config, hard=hard, outcome_P=outcomes(state, hard, config, 4, 0.8, 0.3),
        percentile_P=percentiles(state.probability_P), keep_from=0.8, drop_below=0.3, rule_version="r",
        model_version="m",
    )  # fmt: skip
    reasons, kinds = reasons_of(found, np.arange(len(state)), {index: f"clip-{index}" for index in range(len(state))})
    return [Verdict(*one) for one in zip(found.decisions(), reasons, kinds, strict=True)]


def kept(state: PoolState, **rule: object) -> list[int]:
    return [index for index, verdict in enumerate(verdicts(state, **rule)) if verdict.decision == "keep"]


@pytest.mark.parametrize(
    ("probability", "verdict"),
    [
        (0.8, Verdict("keep", "score 0.800 >= 0.800", "score")),
        (0.7999, Verdict("review", "score 0.799 between 0.300 and 0.800", "score between")),
        (0.3, Verdict("review", "score 0.300 between 0.300 and 0.800", "score between")),
        (0.29999, Verdict("drop", "score 0.299 < 0.300", "score")),
        (math.nan, Verdict("drop", "no score: unreadable_frames", "no score")),
    ],
)
def test_a_probability_at_a_bound_is_on_its_upper_side_and_is_shown_rounded_down(probability, verdict):
    assert verdicts(pool([probability])) == [verdict]


def test_a_persons_rating_decides_except_in_the_middle():
    found = verdicts(pool([0.5] * 5, rated={0: 1, 1: 2, 2: 3, 3: 4, 4: 5}))
    assert [verdict.decision for verdict in found] == ["drop", "drop", "review", "keep", "keep"]
    assert found[0] == Verdict("drop", "rated 1", "rated 1")


def test_flags_drop_a_clip_unless_a_person_rated_it_good_or_the_flag_is_switched_off():
    state = pool([0.9, 0.9, 0.1], flags={0: ["overlay", "black", "hdr"], 1: ["overlay"], 2: ["black"]}, rated={2: 5})
    assert verdicts(state)[0] == Verdict("drop", "flag: black, hdr", "flag black")
    assert kept(state) == [1, 2]
    assert kept(state, drop_flags=("hdr",)) == [1, 2]
    assert kept(state, drop_flags=("still",)) == [0, 1, 2]
    with pytest.raises(UserError, match="'blakc', which is no flag of a clip: the flags are black, still"):
        check_flags(["still", "blakc"])


def test_flags_alone_decide_in_mode_flags():
    state = pool([math.nan] * 3, flags={0: ["still", "overlay"], 1: ["overlay"]})
    assert verdicts(state, mode="flags") == [
        Verdict("drop", "flags only: still", "flags only, still"),
        Verdict("review", "flags only: overlay", "flags only, overlay"),
        Verdict("keep", "flags only: none", "flags only, none"),
    ]
    assert kept(state, mode="flags", middle="keep") == [1, 2]


def test_scene_cuts_drop_frames_and_a_clip_only_where_too_few_are_left():
    clips = pa.table({
        "cut_ms": pa.array([[], None, [8000], [800, 1600, 2400], [1000] * 3, [0, 16000]], pa.list_(pa.int32())),
        "num_frames": [160] * 6, "fps": [10.0] * 6,
    })  # fmt: skip
    # three shots of 8 frames are of no use to a window of 16, the 136 frames after them are; frame 0 begins no shot
    assert usable_shares(clips, 16).tolist() == [1, 1, 1, 136 / 160, 150 / 160, 1]
    assert usable_shares(clips, 137)[3] == 0
    # as the loader of the training sees it
    assert free_starts(160, [8, 16, 24], 16).firsts == (24,)
    assert not free_starts(160, [8, 16, 24], 137).total
    state = pool([0.9, 0.9, 0.9], flags={0: ["cuts"]}, usable={0: 0.5, 1: 0.3106, 2: 0.31}, rated={2: 4})
    assert kept(state) == [0, 2]
    assert verdicts(state)[1] == Verdict("drop", "usable share 0.310 < 0.500: scene cuts", "usable share")
    assert kept(state, min_usable_share=0.0) == [0, 1, 2]


def test_one_clip_stands_for_a_group_of_copies_and_a_rule_that_drops_it_hands_over_to_the_best_scored_copy():
    copies = {"group": [0, 0, 0, -1], "represents": [True, False, False, False]}
    assert kept(pool([0.8, 0.9, 0.95, 0.9], **copies)) == [0, 3]
    assert verdicts(pool([0.8, 0.9, 0.95, 0.9], **copies))[2] == Verdict("drop", "duplicate of clip-0", "duplicate")
    flagged = pool([0.8, 0.9, 0.95, 0.9], flags={0: ["still"]}, **copies)
    assert kept(flagged) == [2, 3]
    assert [verdict.reason for verdict in verdicts(flagged)[:2]] == ["duplicate of clip-2"] * 2
    # copies show what a person has rated, so a bad rating holds for them too; a good one lifts the flag
    assert kept(pool([0.8, 0.9, 0.95, 0.9], rated={0: 1}, **copies)) == [3]
    assert kept(pool([0.1, 0.9, 0.95, 0.9], flags={0: ["still"]}, rated={0: 5}, **copies)) == [0, 3]
    # the representative is gone
    assert kept(pool([0.8, 0.9, 0.95, 0.9], group=[0, 0, 0, -1])) == [2, 3]
    assert kept(flagged, keep_duplicates=True) == [1, 2, 3]


def test_a_channel_gives_its_best_clips_up_to_the_cap_those_that_people_rated_first():
    state = pool([0.85, 0.99, 0.95, 0.9, 0.97], rated={0: 4}, sources=[0, 0, 0, 0, 1])
    assert kept(state, max_per_channel=2) == [0, 1, 4]
    reason = "channel cap: 2 better clips of its channel are kept"
    assert verdicts(state, max_per_channel=2)[2] == Verdict("drop", reason, "channel cap")
    assert kept(state) == [0, 1, 2, 3, 4]


def test_a_percentile_is_the_share_of_scored_clips_with_a_lower_probability():
    found = percentiles(np.array([0.5, math.nan, 0.1, 0.5, 0.9]))
    assert found[[0, 2, 3, 4]].tolist() == [0.25, 0, 0.25, 0.75]
    assert math.isnan(found[1])


def test_the_configuration_says_what_happens_between():
    for middle in ("drop", "keep", "review"):
        assert verdicts(pool([0.5]), middle=middle)[0].decision == middle
