"""The candidate `embedding`: a ridge regression of the rating on a frozen ImageNet network's view of the clip.

Dimension keys: N clips, D numbers of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from torch import Tensor

from classifier.training.arrays import Floats, Rows
from classifier.training.candidates.scorer import State
from classifier.training.examples import Examples
from classifier.training.inputs import ClipInputs, Need
from pipeline.config import ClassifierConfig

PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0)
"""Ridge penalties a clip that are tried."""
INNER_FOLDS = 3
MOST_FOR_PENALTY = 2000
"""Clips on which the penalty is chosen at most."""


@dataclass(frozen=True)
class EmbeddingScorer:
    """A linear function of the embedding; the score is the predicted rating, and the mean of all for a clip without."""

    weights_D: Floats
    bias: float

    @property
    def needs(self) -> frozenset[Need]:
        """Return that it needs the embedding."""
        return frozenset({"embedding"})

    def scores(self, inputs: ClipInputs) -> Floats:
        """Return the predicted ratings (N,); NaN for a clip without an embedding."""
        if inputs.embedding_ND is None:
            return np.full(len(inputs), np.nan)
        # one sum a clip: the rounding of a matrix product would depend on the clips beside
        return np.array([float((row_D * self.weights_D).sum()) for row_D in inputs.embedding_ND]) + self.bias

    def state(self) -> State:
        """Return its numbers."""
        return State({"bias": self.bias}, {"weights": torch.from_numpy(self.weights_D)})

    @classmethod
    def of_state(cls, document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> EmbeddingScorer:
        """Return the scorer of these numbers."""
        return cls(tensors["weights"].numpy(), float(document["bias"]))


def fit_embedding(learning: Examples, config: ClassifierConfig, seed: int) -> EmbeddingScorer:
    """Return the regression that learned the ratings of the clips that have an embedding.

    The penalty is chosen from a few by folds of the sources learned from.
    """
    assert learning.embedding_ND is not None
    there = np.flatnonzero(np.isfinite(learning.embedding_ND).all(1))
    x_ND = learning.embedding_ND[there].astype(np.float64)
    mean_D, scale_D = x_ND.mean(0), np.maximum(x_ND.std(0), 1e-6)
    z_ND, rating_N = (x_ND - mean_D) / scale_D, learning.rating_N[there].astype(np.float64)
    some = np.sort(np.random.default_rng(seed).permutation(len(there))[:MOST_FOR_PENALTY])
    groups = [learning.groups[place] for place in there[some]]
    penalty = _best_penalty(z_ND[some], rating_N[some], groups)
    weights_D, bias = _ridge(z_ND, rating_N, np.arange(len(there)), penalty)
    # the standardization is folded into the weights
    return EmbeddingScorer(weights_D / scale_D, bias - float((weights_D * mean_D / scale_D).sum()))


def _best_penalty(z_ND: Floats, rating_N: Floats, groups: list[str]) -> float:
    folds = min(INNER_FOLDS, len(set(groups)))
    if folds < 2:
        return PENALTIES[2]
    parts = list(GroupKFold(folds).split(z_ND, rating_N, groups))
    errors = dict.fromkeys(PENALTIES, 0.0)
    for learn, score in parts:
        for penalty in PENALTIES:
            weights_D, bias = _ridge(z_ND, rating_N, learn, penalty)
            errors[penalty] += float(((z_ND[score] @ weights_D + bias - rating_N[score]) ** 2).sum())
    return min(errors, key=lambda penalty: (errors[penalty], penalty))


def _ridge(z_ND: Floats, rating_N: Floats, rows: Rows, penalty: float) -> tuple[Floats, float]:
    fitted = Ridge(penalty * len(rows), solver="cholesky").fit(z_ND[rows], rating_N[rows])
    return np.asarray(fitted.coef_, np.float64), float(fitted.intercept_)
