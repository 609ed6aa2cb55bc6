"""The candidate `embedding`: a ridge regression of the rating on a frozen ImageNet network's view of the clip.

Dimension keys: N clips, D numbers of an embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import GroupKFold
from torch import Tensor

from classifier.training.arrays import Floats
from classifier.training.candidates.scorer import State
from classifier.training.examples import Examples
from classifier.training.inputs import ClipInputs, Embeddings, Need
from pipeline.config import ClassifierConfig

PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0)
"""Ridge penalties a clip that are tried."""
INNER_FOLDS = 3
ROWS = 512
"""Clips that are standardized at a time."""
MOST_FOR_PENALTY = 2000
"""Clips on which the penalty is chosen at most."""


@dataclass(frozen=True)
class EmbeddingScorer:
    """A linear function of the embedding; the score is the predicted rating."""

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
    x_ND = learning.embedding_ND if len(there) == len(learning) else learning.embedding_ND[there]
    rating_N = learning.rating_N[there].astype(np.float64)
    mean_D, scale_D = _mean_and_scale(x_ND)
    some = np.sort(np.random.default_rng(seed).permutation(len(there))[:MOST_FOR_PENALTY])
    some_z_ND = (x_ND[some] - mean_D) / scale_D
    penalty = _best_penalty(some_z_ND, rating_N[some], [learning.groups[place] for place in there[some]])
    parts = (((part - mean_D) / scale_D) for part in np.array_split(x_ND, max(1, len(x_ND) // ROWS)))
    [(weights_D, bias)] = _ridges(parts, rating_N, x_ND.shape[1], [penalty])
    # the standardization is folded into the weights
    return EmbeddingScorer(weights_D / scale_D, bias - float((weights_D * mean_D / scale_D).sum()))


def _mean_and_scale(x_ND: Embeddings) -> tuple[Floats, Floats]:
    # in parts: a deviation in 64 bits would copy the whole array
    parts = np.array_split(x_ND, max(1, len(x_ND) // ROWS))
    mean_D = x_ND.mean(0, dtype=np.float64)
    variance_D = np.sum([((part - mean_D) ** 2).sum(0) for part in parts], axis=0) / len(x_ND)
    return mean_D, np.maximum(np.sqrt(variance_D), 1e-6)


def _best_penalty(z_ND: Floats, rating_N: Floats, groups: list[str]) -> float:
    folds = min(INNER_FOLDS, len(set(groups)))
    if folds < 2:
        return PENALTIES[2]
    errors = dict.fromkeys(PENALTIES, 0.0)
    for learn, score in GroupKFold(folds).split(z_ND, rating_N, groups):
        fitted = _ridges([z_ND[learn]], rating_N[learn], z_ND.shape[1], PENALTIES)
        for penalty, (weights_D, bias) in zip(PENALTIES, fitted, strict=True):
            errors[penalty] += float(((z_ND[score] @ weights_D + bias - rating_N[score]) ** 2).sum())
    return min(errors, key=lambda penalty: (errors[penalty], penalty))


def _ridges(
    parts: Iterable[Floats], rating_N: Floats, width: int, penalties: Sequence[float]
) -> list[tuple[Floats, float]]:
    """Return weights (D,) and bias of a ridge regression for each penalty a clip, from clips in parts.

    Fewer clips than numbers are solved by their products with each other (N x N), more by the numbers' (D x D), so
    that no copy of 10,000 clips in 64 bits is made.
    """
    bias, centred_N = float(rating_N.mean()), rating_N - rating_N.mean()
    if len(rating_N) <= width:
        z_ND = np.concatenate(list(parts))
        mean_D = z_ND.mean(0)
        z_ND = z_ND - mean_D
        values_N, vectors_NN = np.linalg.eigh(z_ND @ z_ND.T)
        turned_N = vectors_NN.T @ centred_N
        weights = [z_ND.T @ (vectors_NN @ (turned_N / (values_N + penalty * len(rating_N)))) for penalty in penalties]
        return [(np.asarray(weights_D, np.float64), bias - float(weights_D @ mean_D)) for weights_D in weights]
    gram_DD, sums_D, products_D, start = np.zeros((width, width)), np.zeros(width), np.zeros(width), 0
    for part in parts:
        gram_DD += part.T @ part
        sums_D += part.sum(0)
        products_D += part.T @ centred_N[start : start + len(part)]
        start += len(part)
    mean_D = sums_D / start
    gram_DD -= start * np.outer(mean_D, mean_D)
    found = []
    for penalty in penalties:
        weights_D = np.asarray(
            np.linalg.solve(gram_DD + np.diag(np.full(width, penalty * start)), products_D), np.float64
        )
        found.append((weights_D, bias - float(weights_D @ mean_D)))
    return found
