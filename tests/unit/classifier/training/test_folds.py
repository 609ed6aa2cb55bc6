"""Folds divide no source, so that no clip is scored by a network that saw its source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from classifier.training.examples import Examples
from classifier.training.folds import source_folds
from pipeline.config import ClassifierConfig
from pipeline.errors import UserError

CONFIG = ClassifierConfig(folds=3)


def rated(ratings: Sequence[int], groups: Sequence[str]) -> Examples:
    """Return examples of these ratings and sources, without pictures."""
    count = len(ratings)
    return Examples(
        clip_ids=tuple(f"clip-{number:03d}" for number in range(count)),
        rating_N=np.array(ratings),
        groups=tuple(groups),
        val_N=np.zeros(count, bool),
        frames_NKCHW=torch.zeros(count, 1, 3, 1, 1, dtype=torch.uint8),
        features_NF=np.zeros((count, 1)),
        flags_NF=np.zeros((count, 1), bool),
        unreadable={},
    )


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
    with pytest.raises(UserError, match="fives from 1 and ones from 3 sources"):
        source_folds(rated([5, 5, 1, 1, 1], ["a", "a", "b", "c", "d"]), CONFIG)
