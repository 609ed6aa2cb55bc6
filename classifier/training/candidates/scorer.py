"""The interface of a fitted candidate: scores from arrays, and its numbers as JSON and tensors (no pickle)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from classifier.training.arrays import Floats
from classifier.training.inputs import ClipInputs, Need


class State(NamedTuple):
    """All numbers of a fitted candidate."""

    document: Mapping[str, Any]
    """What fits in JSON."""
    tensors: Mapping[str, Tensor]
    """Arrays, by name."""


class Scorer(Protocol):
    """A fitted candidate."""

    @property
    def needs(self) -> frozenset[Need]:
        """Return the arrays of `ClipInputs` that it reads; the others may be None (features are always there)."""
        ...

    def scores(self, inputs: ClipInputs) -> Floats:
        """Return raw scores (N,), higher for better clips; a clip's score does not depend on the clips beside it."""
        ...

    def state(self) -> State:
        """Return its numbers, from which `load_scorer` makes it again."""
        ...
