"""Folds that divide no source, drawn anew for every repeat.

Dimension keys: N clips.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from classifier.training.arrays import Rows
from classifier.training.auc import Sides
from classifier.training.examples import Examples
from pipeline.config import ClassifierConfig
from pipeline.errors import UserError


class Fold(NamedTuple):
    """Rows of the examples on either side of one fold."""

    learn: Rows
    score: Rows


def source_folds(examples: Examples, config: ClassifierConfig, repeat: int = 0) -> list[Fold]:
    """Return folds that divide no source and always leave good and bad clips to learn from.

    There are `classifier.folds` of them, or fewer where good or bad clips come from fewer sources. Good clips
    are spread over the folds in equal shares, as far as whole sources allow.

    Raises:
        UserError: the labels come from too few sources for two folds.
    """
    sides = Sides.of_ratings(examples.rating_N, config.good_rating)
    good_sources, bad_sources = (
        {group for group, is_in in zip(examples.groups, side_N, strict=True) if is_in}
        for side_N in (sides.good_N, sides.bad_N)
    )
    for count in range(min(config.folds, len(good_sources), len(bad_sources)), 1, -1):
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=config.seed + repeat)
        parts = splitter.split(
            np.zeros(len(examples)), sides.good_N, np.array(examples.groups, dtype=object).astype(str)
        )
        folds = [Fold(learn, score) for learn, score in parts if len(score)]
        if len(folds) > 1 and all(sides.good_N[fold.learn].any() and sides.bad_N[fold.learn].any() for fold in folds):
            return folds
    raise UserError(
        f"labels come from too few sources: good clips from {len(good_sources)} and bad ones from {len(bad_sources)}, "
        "at least 2 of each are needed, so that no clip is scored by a model that saw its source. Rate clips of other "
        "videos: `lampworks label --root ROOT` offers them in turn."
    )
