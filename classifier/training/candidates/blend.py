"""The candidate `blend`: the mean of the standardized scores of two others. Its weights are not tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from classifier.training.arrays import Floats
from classifier.training.candidates.scorer import Scorer, State
from classifier.training.inputs import ClipInputs, Need


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a candidate's out-of-fold scores."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, score_N: Floats) -> Spread:
        """Return the spread of scores; those that are not finite are left out."""
        known = score_N[np.isfinite(score_N)]
        return cls(float(known.mean()), max(float(known.std()), 1e-9)) if len(known) else cls(0.0, 1.0)

    def standardize(self, score_N: Floats) -> Floats:
        """Return scores in standard deviations from the mean; a missing one counts as the mean."""
        return np.where(np.isfinite(score_N), (score_N - self.mean) / self.deviation, 0.0)


@dataclass(frozen=True)
class BlendScorer:
    """The parts with their spreads."""

    parts: Mapping[str, Scorer]
    spreads: Mapping[str, Spread]

    @property
    def needs(self) -> frozenset[Need]:
        """Return what any part needs."""
        return frozenset().union(*(part.needs for part in self.parts.values()))

    def scores(self, inputs: ClipInputs) -> Floats:
        """Return the mean of the parts' standardized scores (N,)."""
        return blended({name: part.scores(inputs) for name, part in self.parts.items()}, self.spreads)

    def state(self) -> State:
        """Return the numbers of all parts, their tensors under the parts' names."""
        states = {name: part.state() for name, part in self.parts.items()}
        document = {
            name: {
                "mean": self.spreads[name].mean,
                "deviation": self.spreads[name].deviation,
                "state": dict(state.document),
            }
            for name, state in states.items()
        }
        tensors = {f"{name}/{key}": value for name, state in states.items() for key, value in state.tensors.items()}
        return State(document, tensors)


def blended(scores: Mapping[str, Floats], spreads: Mapping[str, Spread]) -> Floats:
    """Return the mean of standardized scores (N,)."""
    return np.mean([spreads[name].standardize(score_N) for name, score_N in scores.items()], axis=0)


def parts_of(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, tuple[State, Spread]]:
    """Return the state and the spread of every part of a stored blend."""
    return {
        name: (
            State(
                part["state"],
                {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")},
            ),
            Spread(float(part["mean"]), float(part["deviation"])),
        )
        for name, part in document.items()
    }
