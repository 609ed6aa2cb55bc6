"""Folds divide no source, so that no clip is scored by a network that saw its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from classifier.training.examples import Examples
from classifier.training.folds import source_folds
from classifier.training.train import held_out
from pipeline.config import ClassifierConfig
from pipeline.errors import UserError
from tests.rated import made_up

CONFIG = ClassifierConfig(folds=3)


def rated(ratings: Sequence[int], groups: Sequence[str]) -> Examples:
    """Return examples of these ratings and sources, without pictures."""
    return made_up(ratings, groups)


def test_no_source_is_on_both_sides_of_a_fold_and_every_clip_is_scored_once() -> None:
    groups = [f"source-{number % 7}" for number in range(42)]
    examples = rated([(5, 1, 4)[number % 3] for number in range(42)], groups)
    folds = source_folds(examples, CONFIG)
    assert len(folds) == 3
    for fold in folds:
        learned, scored = ({groups[index] for index in side} for side in (fold.learn, fold.score))
        assert not learned & scored
        assert {1, 5} <= set(examples.rating_N[fold.learn].tolist())
    assert sorted(index for fold in folds for index in fold.score.tolist()) == list(range(42))


def test_fewer_folds_are_made_where_the_sources_do_not_suffice_for_all() -> None:
    examples = rated([5, 5, 1, 1, 5, 1], ["a", "b", "c", "d", "a", "c"])
    assert len(source_folds(examples, CONFIG)) == 2


def test_one_source_of_a_rating_is_refused_with_the_counts() -> None:
    with pytest.raises(UserError, match="good clips from 1 and bad ones from 3"):
        source_folds(rated([5, 5, 1, 1, 1], ["a", "a", "b", "c", "d"]), CONFIG)


def test_sources_are_held_out_from_300_labels_on_and_copies_go_with_them() -> None:
    ratings, groups = [5, 1] * 150, [f"s{number // 10}" for number in range(300)]
    examples = made_up(ratings, groups)
    # one clip of a joined source is of a video that the split holds out
    val_N = np.zeros(300, bool)
    val_N[25] = True
    held_N, why = held_out(replace(examples, val_N=val_N), 4)
    assert [group for group, held in zip(groups, held_N, strict=True) if held] == ["s2"] * 10
    assert why == ""
    few = replace(examples, val_N=val_N).take(np.arange(299))
    held_N, why = held_out(few, 4)
    assert not held_N.any()
    assert why == "with 299 labels (fewer than 300) all sources are used by cross-validation"
    assert held_out(examples, 4)[1] == "no rated clip is of a source that is held out"
    # what is good is configured: threes too, here
    threes = replace(examples, rating_N=np.array([3, 1] * 150), val_N=val_N)
    assert (held_out(threes, 3)[0].sum(), held_out(threes, 4)[0].sum()) == (10, 0)
