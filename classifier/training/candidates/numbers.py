"""What scikit-learn fitted, as arrays: quantile steps, support vectors and trees, and the scores computed from them.

A published model is numbers only, so that no file of a model can run code. The scores equal scikit-learn's to 1e-9.

Dimension keys: N clips, F measurements, Q quantiles, S support vectors, T trees, M nodes of all trees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.preprocessing import QuantileTransformer
from sklearn.svm import SVR
from torch import Tensor

from classifier.training.arrays import Floats

CHUNK = 1024
"""Clips that are scored at a time: distances to all support vectors, and one node of every tree, for each."""


class Arrays:
    """A dataclass of arrays, stored as tensors under their names."""

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Return the arrays as tensors named `<prefix>.<field>`."""
        found = {field.name: np.ascontiguousarray(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]
        return {f"{prefix}.{name}": torch.from_numpy(value) for name, value in found.items()}

    @classmethod
    def of_tensors(cls, prefix: str, tensors: Mapping[str, Tensor]) -> Self:
        """Return the arrays that `tensors` holds under a prefix."""
        return cls(**{field.name: tensors[f"{prefix}.{field.name}"].numpy() for field in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Quantiles(Arrays):
    """A QuantileTransformer with uniform output: the share of learned values below a value."""

    values_QF: Floats
    shares_Q: Floats

    @classmethod
    def of(cls, fitted: QuantileTransformer) -> Quantiles:
        """Return the steps of a fitted transformer."""
        return cls(fitted.quantiles_, fitted.references_)

    def apply(self, x_NF: Floats) -> Floats:
        """Return shares (N, F) within [0, 1]."""
        found = np.empty_like(x_NF)
        for column, values_Q in enumerate(self.values_QF.T):
            x_N = x_NF[:, column]
            # from both sides, so that a value that many clips share lands in the middle of its share
            up_N = np.interp(x_N, values_Q, self.shares_Q)
            down_N = np.interp(-x_N, -values_Q[::-1], -self.shares_Q[::-1])
            share_N = 0.5 * (up_N - down_N)
            share_N[x_N == values_Q[-1]] = self.shares_Q[-1]
            share_N[x_N == values_Q[0]] = self.shares_Q[0]
            found[:, column] = share_N
        return found


@dataclass(frozen=True)
class SupportVectors(Arrays):
    """A support vector regression with a radial kernel."""

    vectors_SF: Floats
    weights_S: Floats
    bias: Floats
    """One number."""
    gamma: Floats
    """One number."""

    @classmethod
    def of(cls, fitted: SVR) -> SupportVectors:
        """Return the numbers of a fitted regression."""
        return cls(
            fitted.support_vectors_, fitted.dual_coef_[0], fitted.intercept_.copy(), np.array([float(fitted._gamma)])
        )

    def predict(self, x_NF: Floats) -> Floats:
        """Return predictions (N,)."""
        found = [self._predict(x_NF[start : start + CHUNK]) for start in range(0, len(x_NF), CHUNK)]
        return np.concatenate(found) if found else np.zeros(0)

    def _predict(self, x_NF: Floats) -> Floats:
        squared_NS = np.zeros((len(x_NF), len(self.vectors_SF)))
        # feature by feature: no matrix product, whose rounding would depend on the clips beside
        for x_N, vector_S in zip(x_NF.T, self.vectors_SF.T, strict=True):
            squared_NS += (x_N[:, None] - vector_S) ** 2
        return (np.exp(-self.gamma[0] * squared_NS) * self.weights_S).sum(1) + self.bias[0]


@dataclass(frozen=True)
class Trees(Arrays):
    """Regression trees, the nodes of all of them in a row."""

    roots_T: NDArray[np.int32]
    feature_M: NDArray[np.int16]
    """Measurement that a node compares; -1 for a leaf."""
    threshold_M: Floats
    left_M: NDArray[np.int32]
    """Place of the child for values up to the threshold."""
    right_M: NDArray[np.int32]
    value_M: Floats

    @classmethod
    def of(cls, fitted: ExtraTreesRegressor) -> Trees:
        """Return the nodes of fitted trees."""
        trees = [estimator.tree_ for estimator in fitted.estimators_]
        roots = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])

        def joined(name: str, shift: bool = False) -> NDArray[np.int64]:
            parts = [np.asarray(getattr(tree, name)) for tree in trees]
            return np.concatenate([part + root * shift for part, root in zip(parts, roots, strict=True)])

        left = np.concatenate([tree.children_left for tree in trees])
        leaf = left < 0
        return cls(
            roots_T=roots.astype(np.int32),
            feature_M=np.where(leaf, -1, joined("feature")).astype(np.int16),
            threshold_M=np.where(leaf, 0.0, joined("threshold").astype(np.float64)),
            left_M=np.where(leaf, 0, joined("children_left", shift=True)).astype(np.int32),
            right_M=np.where(leaf, 0, joined("children_right", shift=True)).astype(np.int32),
            value_M=np.concatenate([tree.value[:, 0, 0] for tree in trees]),
        )

    def predict(self, x_NF: Floats) -> Floats:
        """Return the mean prediction (N,) of the trees."""
        # the trees were grown on float32
        single_NF = x_NF.astype(np.float32)
        found = [self._predict(single_NF[start : start + CHUNK]) for start in range(0, len(x_NF), CHUNK)]
        return np.concatenate(found) if found else np.zeros(0)

    def _predict(self, x_NF: NDArray[np.float32]) -> Floats:
        node_NT = np.repeat(self.roots_T[None], len(x_NF), axis=0)
        clip_N1 = np.arange(len(x_NF))[:, None]
        while (inner_NT := self.feature_M[node_NT] >= 0).any():
            feature_NT = np.where(inner_NT, self.feature_M[node_NT], 0)
            goes_left_NT = x_NF[clip_N1, feature_NT] <= self.threshold_M[node_NT]
            child_NT = np.where(goes_left_NT, self.left_M[node_NT], self.right_M[node_NT])
            node_NT = np.where(inner_NT, child_NT, node_NT)
        return self.value_M[node_NT].mean(1)
