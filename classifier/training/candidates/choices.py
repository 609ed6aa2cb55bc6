"""The candidates by name: what each needs, what it costs beside the others, and how it is fitted or read again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from classifier.training.candidates.blend import BlendScorer, parts_of
from classifier.training.candidates.embedding import EmbeddingScorer, fit_embedding
from classifier.training.candidates.measurements import MeasurementScorer, fit_measurements, learned_from
from classifier.training.candidates.network import NetworkScorer, fit_network, lacking_extremes
from classifier.training.candidates.scorer import Scorer
from classifier.training.examples import Examples
from classifier.training.folds import Fold
from classifier.training.inputs import Need
from pipeline.config import ClassifierConfig
from pipeline.config.curate import Candidate

BY_COST: tuple[Candidate, ...] = ("measurements", "embedding", "blend", "network")
"""The cheapest first: of two that are level, the cheaper one is published."""
FITTED: dict[Candidate, Callable[[Examples, ClassifierConfig, int], Scorer]] = {
    "measurements": fit_measurements,
    "embedding": fit_embedding,
    "network": fit_network,
}
"""Candidates that learn by themselves; the blend is made of their scores."""
_BLENDS: tuple[tuple[Candidate, Candidate], ...] = (
    ("measurements", "embedding"),
    ("measurements", "network"),
    ("embedding", "network"),
)
LEAST_EMBEDDED = 0.9
"""Share of the rated clips that must have an embedding, for the candidate to be compared on all of them."""
_NEEDS: dict[Candidate, frozenset[Need]] = {
    "measurements": frozenset({"features"}),
    "embedding": frozenset({"embedding"}),
    "blend": frozenset(),
    "network": frozenset({"frames"}),
}


def needs_of(config: ClassifierConfig) -> frozenset[Need]:
    """Return the arrays that the configured candidates need, measurements always among them."""
    return _NEEDS["measurements"].union(*(_NEEDS[name] for name in config.candidates))


def left_out(name: Candidate, examples: Examples, folds: list[Fold], config: ClassifierConfig) -> str:
    """Return why a candidate that learns by itself cannot be compared on these clips; empty where it can."""
    if name == "measurements" and not all(learned_from(examples.features_NF[fold.learn]).any() for fold in folds):
        return "the clips of a fold have none of the measurements that it learns from"
    if name == "embedding":
        have = 0 if examples.embedding_ND is None else int(np.isfinite(examples.embedding_ND).all(1).sum())
        if have < LEAST_EMBEDDED * len(examples):
            counted = (
                f"{have} of {len(examples)} rated clips have an embedding, at least {LEAST_EMBEDDED:.0%} are needed"
            )
            return examples.no_embedding or counted
    if name == "network":
        if examples.frames is None:
            return "no frames were read"
        return next((why for why in (lacking_extremes(examples.take(fold.learn), config) for fold in folds) if why), "")
    return ""


def blend_parts(there: list[Candidate]) -> tuple[Candidate, ...]:
    """Return the two candidates that are blended: measurements with the embedding, or else with the network."""
    return next((pair for pair in _BLENDS if set(pair) <= set(there)), ())


def scorer_from_state(
    name: str, document: Mapping[str, Any], tensors: Mapping[str, Tensor], device: torch.device
) -> Scorer:
    """Return the fitted candidate of these numbers."""
    if name == "measurements":
        return MeasurementScorer.of_state(document, tensors)
    if name == "embedding":
        return EmbeddingScorer.of_state(document, tensors)
    if name == "network":
        return NetworkScorer.of_state(document, tensors, device)
    assert name == "blend", name
    parts = parts_of(document, tensors)
    return BlendScorer(
        parts={part: scorer_from_state(part, *state, device) for part, (state, _) in parts.items()},
        spreads={part: spread for part, (_, spread) in parts.items()},
    )
