"""The candidate `measurements`: the rating, learned from the hand measurements of a clip.

The mean of two regressions that err in different ways: support vectors with a radial kernel on ranks (smooth, blind to
scale), and extremely randomized trees (steps, blind to what does not matter). Both learn all five ratings. Hand
measurements travel to other games better than pictures do, so this is also what is published where there is too little
evidence to choose.

Dimension keys: N clips, F measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.preprocessing import QuantileTransformer
from sklearn.svm import SVR
from torch import Tensor

from classifier.training.arrays import Bools, Floats
from classifier.training.candidates.numbers import Quantiles, SupportVectors, Trees
from classifier.training.candidates.scorer import State
from classifier.training.examples import Examples, feature_names
from classifier.training.inputs import ClipInputs, Need
from pipeline.clips.features import LEARNED_NAMES
from pipeline.config import ClassifierConfig
from pipeline.errors import UserError

QUANTILES = 40
TREES = 200
MOST_FOR_VECTORS = 4000
"""Clips that the support vectors learn from at most: their time grows with the square."""


@dataclass(frozen=True)
class MeasurementScorer:
    """The two regressions as numbers; the score is the predicted rating."""

    names: tuple[str, ...]
    """Measurements that it was fitted on, in order."""
    filling_F: Floats
    """Value of a missing measurement: the median of those learned from."""
    quantiles: Quantiles
    vectors: SupportVectors
    trees: Trees

    @property
    def needs(self) -> frozenset[Need]:
        """Return that it needs measurements alone: no picture is decoded."""
        return frozenset({"features"})

    def scores(self, inputs: ClipInputs) -> Floats:
        """Return the predicted ratings (N,)."""
        x_NF = inputs.features_NF[:, columns_of(self.names)]
        x_NF = np.where(np.isfinite(x_NF), x_NF, self.filling_F)
        return (self.vectors.predict(self.quantiles.apply(x_NF)) + self.trees.predict(x_NF)) / 2

    def state(self) -> State:
        """Return its numbers."""
        arrays = {
            "filling": torch.from_numpy(self.filling_F),
            **self.quantiles.tensors("quantiles"),
            **self.vectors.tensors("vectors"),
            **self.trees.tensors("trees"),
        }
        return State({"feature_names": list(self.names)}, arrays)

    @classmethod
    def of_state(cls, document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> MeasurementScorer:
        """Return the scorer of these numbers."""
        return cls(
            names=tuple(document["feature_names"]),
            filling_F=tensors["filling"].numpy(),
            quantiles=Quantiles.of_tensors("quantiles", tensors),
            vectors=SupportVectors.of_tensors("vectors", tensors),
            trees=Trees.of_tensors("trees", tensors),
        )


def fit_measurements(learning: Examples, config: ClassifierConfig, seed: int) -> MeasurementScorer:
    """Return the regressions that learned the ratings of these clips.

    Those that tell how a game looks, not whether it is played, are left out, and so is one that no clip has. Where only
    some lack it, it counts as the median.
    """
    there_F = learned_from(learning.features_NF)
    x_NF = learning.features_NF[:, there_F]
    filling_F = np.array([np.median(column[np.isfinite(column)]) for column in x_NF.T])
    x_NF = np.where(np.isfinite(x_NF), x_NF, filling_F)
    rating_N = learning.rating_N.astype(np.float64)
    draw = np.random.default_rng(seed)
    some = np.sort(draw.permutation(len(x_NF))[:MOST_FOR_VECTORS])
    ranks = QuantileTransformer(n_quantiles=min(QUANTILES, len(x_NF)), random_state=seed).fit(x_NF)
    vectors = SVR(C=1.0).fit(ranks.transform(x_NF[some]), rating_N[some])
    # leaves grow with the number of labels, so that the trees of 10,000 stay small
    trees = ExtraTreesRegressor(
        TREES, max_features=0.33, min_samples_leaf=max(2, len(x_NF) // 500), random_state=seed
    ).fit(x_NF, rating_N)
    return MeasurementScorer(
        names=tuple(name for name, there in zip(feature_names(), there_F.tolist(), strict=True) if there),
        filling_F=filling_F,
        quantiles=Quantiles.of(ranks),
        vectors=SupportVectors.of(vectors),
        trees=Trees.of(trees),
    )


def learned_from(features_NF: Floats) -> Bools:
    """Return which measurements (F,) are learned: those of `LEARNED_NAMES` that one of the clips has at least."""
    there_F: Bools = np.isfinite(features_NF).any(axis=0) & np.isin(feature_names(), LEARNED_NAMES)
    return there_F


def columns_of(names: tuple[str, ...]) -> list[int]:
    """Return the places of measurements among those of today.

    Raises:
        UserError: one of them is not made any more.
    """
    now = feature_names()
    gone = [name for name in names if name not in now]
    if gone:
        raise UserError(
            f"the quality classifier learned from measurements that this version does not make ({', '.join(gone)}): "
            "train it again with `lampworks run`"
        )
    return [now.index(name) for name in names]
