"""What chance alone gives, drawn from the data themselves, and when there is too little of them to say.

How chance is drawn follows from what is compared:

    shift      clips: each is turned in a circle as a whole (`models.metrics.shifted`)
    exchange   windows, which are shorter than runs: whole ones of a source take each other's places
    permute    actions that were drawn one by one: any order of them was as likely, so single ones change places

Units are what can be rearranged apart from all else: sources with true actions that change, or single actions where
these change places. With fewer than eight of them there is no chance level.

Shapes: N transitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from models.metrics import exchanged, shifted
from pipeline.config import EvaluationConfig

TOO_FEW = "too few to tell"
LEAST_UNITS = 8
"""Sources that chance is drawn from: each can be arranged in two ways or more, so there are 256 arrangements at least,
far more than the 20 that a p of 0.05 needs."""
LEAST_DRAWS = 19
"""With fewer draws no p reaches 0.05: the data themselves count as one more."""
How = Literal["shift", "exchange", "permute"]


def rearranged(
    sequences: Sequence[np.ndarray], sources: Sequence[str], how: How, rng: np.random.Generator
) -> list[np.ndarray]:
    """Return the sequences (N, ...) of each clip or window as chance might have aligned them.

    Args:
        sequences: per clip or window.
        sources: of each.
        how: see the head of this module.
        rng: random generator.
    """
    if how == "shift":
        return shifted(sequences, rng)
    if how == "exchange":
        return exchanged(sequences, sources, rng)
    lengths = [len(each) for each in sequences]
    found = list(sequences)
    for source in sorted(set(sources)):
        places = [place for place, own in enumerate(sources) if own == source]
        mixed = rng.permutation(np.concatenate([sequences[place] for place in places]))
        ends = np.cumsum([lengths[place] for place in places])[:-1]
        for place, part in zip(places, np.split(mixed, ends), strict=True):
            found[place] = part
    return found


def no_chance_level(
    true: Sequence[np.ndarray], sources: Sequence[str], how: How, config: EvaluationConfig, *, unit: str = "sources"
) -> str:
    """Return why chance cannot be told from what there is; empty where it can.

    What the other side is does not count here: latent actions that never change fit no arrangement better than
    another, and that is an answer.

    Args:
        true: true actions of each clip or window, (N, ...).
        sources: of each.
        how: see the head of this module.
        config: number of draws (`shuffles`).
        unit: what `sources` names, for the reason.
    """
    if config.shuffles < LEAST_DRAWS:
        return f"{TOO_FEW}: evaluation.shuffles = {config.shuffles} draws of chance: set it to {LEAST_DRAWS} or more"
    if how == "permute":
        units, what = _drawn(true, sources), "actions were drawn"
    else:
        units = sum(_can_change([true[place] for place in places], how) for places in _places(sources).values())
        what = (
            f"{unit} have true actions that change"
            if how == "shift"
            else f"{unit} have windows with different true actions (evaluation.windows_per_clip)"
        )
    return "" if units >= LEAST_UNITS else f"{TOO_FEW}: {units} {what}, and {LEAST_UNITS} are needed to tell chance"


def _places(sources: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, source in enumerate(sources):
        found.setdefault(source, []).append(place)
    return found


def _can_change(parts: Sequence[np.ndarray], how: How) -> bool:
    """Tell whether the parts of one source can be arranged in more than one way."""
    if how == "shift":
        return any(len(part) > 0 and bool((part != part[0]).any()) for part in parts)
    return any(len(part) == len(other) and not np.array_equal(part, other) for part in parts for other in parts)


def _drawn(true: Sequence[np.ndarray], sources: Sequence[str]) -> int:
    """Return the number of actions of the sources for which different ones were drawn."""
    together = [np.concatenate([true[place] for place in places]) for places in _places(sources).values()]
    return sum(len(own) for own in together if len(np.unique(own)) > 1)
