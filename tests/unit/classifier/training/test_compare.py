"""Candidates are compared on the same clips in the same folds; one that cannot be is left out with its reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from classifier.training.compare import compare_candidates, filled, fit_candidate
from classifier.training.examples import Examples
from classifier.training.frames import ClipFrames
from classifier.training.promotion import against, beats_references, best_candidate
from pipeline.config import ClassifierConfig
from pipeline.errors import UserError
from tests.rated import made_up

CONFIG = ClassifierConfig(
    candidates=("measurements", "embedding", "blend"), folds=2, repeats=2, threads=2, width=2, input_height=15,
    frames_per_clip=1, steps=1, batch=4, device="cpu",
)  # fmt: skip


def rated(count: int = 60, sources: int = 12, *, embedded: bool = True) -> Examples:
    ratings = [(5, 1, 4, 2, 3)[index % 5] for index in range(count)]
    found = made_up(ratings, [f"s{index * sources // count:02d}" for index in range(count)])
    noise = np.random.default_rng(3).normal(0, 1, (count, 6)).astype(np.float32)
    frames = torch.from_numpy(np.random.default_rng(4).integers(0, 256, (count, 1, 3, 15, 26), dtype=np.uint8))
    found = replace(found, frames=ClipFrames(frames, np.arange(count)))
    return replace(found, embedding_ND=noise) if embedded else found


def test_the_best_lower_bound_is_published_and_the_table_says_how_each_did() -> None:
    found = compare_candidates(rated(), CONFIG)
    assert [one.name for one in found.compared][:3] == ["measurements", "embedding", "blend"]
    assert {one.name for one in found.references} <= {"motion_alone", "best_flag"}
    assert all(one.scores_RN.shape == (2, 60) for one in found.candidates)
    choice = best_candidate(found)
    assert choice.name == "measurements"
    assert "`measurements` has the best lower bound" in choice.why
    pair = against(found, "measurements", "embedding")
    assert pair["interval"][0] > 0, "noise is beaten"
    assert not pair["few"]
    assert beats_references(found, "measurements") is True
    assert beats_references(found, "embedding") is False


def test_no_group_that_is_handed_in_is_on_both_sides_of_a_fold() -> None:
    examples = rated()
    games = [f"game-{index % 7}" for index in range(len(examples))]
    found = compare_candidates(examples, replace(CONFIG, candidates=("measurements",), repeats=1), groups=games)
    assert found.examples.groups == tuple(games)
    for fold in found.folds[0]:
        assert not {games[row] for row in fold.learn} & {games[row] for row in fold.score}


def test_the_same_seed_gives_the_same_scores_whatever_the_number_of_threads() -> None:
    first, second = (compare_candidates(rated(), replace(CONFIG, threads=threads)) for threads in (1, 2))
    for one in first.candidates:
        assert (one.scores_RN == second.of(one.name).scores_RN).all()
    other = compare_candidates(rated(), replace(CONFIG, seed=9))
    assert (other.of("measurements").scores_RN != first.of("measurements").scores_RN).any()


def test_what_cannot_be_compared_is_left_out_with_its_reason_while_another_remains() -> None:
    config = replace(CONFIG, candidates=("measurements", "embedding", "blend", "network"), repeats=1)
    examples = replace(rated(embedded=False), frames=None)
    found = compare_candidates(examples, config)
    assert [one.name for one in found.candidates] == ["measurements"]
    assert found.of("embedding").note == "0 of 60 rated clips have an embedding, at least 90% are needed"
    assert found.of("network").note == "no frames were read"
    assert found.of("blend").note == "it needs two other candidates, and one or none could be compared"
    assert found.of("network").auc is None
    assert "the only candidate" in best_candidate(found).why
    with pytest.raises(UserError, match=r"classifier\.candidates = embedding, blend\): embedding: 0 of 60 rated"):
        compare_candidates(examples, replace(config, candidates=("embedding", "blend")))
    why = compare_candidates(replace(examples, no_embedding="FILE is not there"), config).of("embedding").note
    assert why == "FILE is not there"


def test_a_network_that_does_not_lead_is_not_repeated_and_the_table_says_so() -> None:
    found = compare_candidates(rated(), replace(CONFIG, candidates=("measurements", "network")))
    network = found.of("network")
    assert len(network.scores_RN) == 1
    assert "not repeated: after one repeat its lower bound" in network.note
    assert len(found.of("measurements").scores_RN) == 2
    # one repeat may look better than the mean of several
    network.auc = {**network.auc, "interval": (1.0, 1.0)}
    assert best_candidate(found).name == "measurements"
    alone = compare_candidates(rated(), replace(CONFIG, candidates=("network",)))
    assert len(alone.of("network").scores_RN) == 2, "without a cheaper one it leads"


def test_a_clip_that_cannot_be_scored_counts_as_neither_good_nor_bad() -> None:
    assert filled(np.array([5.0, np.nan, 1.0])).tolist() == [5.0, 3.0, 1.0]


def test_too_few_clips_decide_nothing_and_the_cheap_default_is_published() -> None:
    config = replace(CONFIG, candidates=("embedding", "measurements"), repeats=1)
    few = rated(20, 8)
    swapped = replace(few, features_NF=np.random.default_rng(0).normal(0, 1, few.features_NF.shape))
    strong = np.repeat(few.rating_N[:, None], 6, 1).astype(np.float32)
    found = compare_candidates(replace(swapped, embedding_ND=strong), config)
    assert found.of("embedding").auc["auc"] == 1.0
    choice = best_candidate(found)
    assert choice.name == "measurements"
    assert "too few to tell candidates apart (8 good clips of 4 sources and 8 bad ones of 8" in choice.why
    assert beats_references(found, "measurements") is None


def test_of_two_that_are_level_the_cheaper_one_is_published_and_equal_is_not_beats() -> None:
    examples = rated()
    perfect = examples.rating_N[:, None].astype(np.float64)
    found = compare_candidates(
        replace(
            examples,
            features_NF=np.repeat(perfect, examples.features_NF.shape[1], 1),
            embedding_ND=np.repeat(perfect, 6, 1).astype(np.float32),
        ),
        CONFIG,
    )
    assert [one.auc["auc"] for one in found.candidates] == [1.0, 1.0, 1.0]
    choice = best_candidate(found)
    assert choice.name == "measurements"
    assert "level with" in choice.why
    assert "beats" not in choice.why
    assert beats_references(found, "measurements") is False, "motion alone is as good"


def test_the_published_blend_is_the_one_that_was_compared() -> None:
    found = compare_candidates(rated(), CONFIG)
    blend = fit_candidate("blend", found, CONFIG)
    scores = blend.scores(found.examples.inputs(np.arange(60), blend.needs))
    assert np.corrcoef(scores, found.of("blend").mean_scores)[0, 1] > 0.5
