"""How many clips of the pool a labelled clip stands for: the inverse of the probability with which it was drawn.

Streams that look for something (uncertain clips, high scores) label other clips than occur. Weights bring the natural
mix back, so that probabilities and shares are those of the pool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from classifier.training.arrays import Floats
from pipeline.label_events import Event

MOST = 20.0
"""Weight of a clip at most, over the median weight: one rare clip must not outweigh all others."""


def inclusion_of(events: Mapping[str, Mapping[str, Event]]) -> dict[str, float]:
    """Return the probability with which each clip was drawn, of clips for which a stream states it.

    Args:
        events: the events that count, by clip and annotator.
    """
    found = {
        clip_id: [event["inclusion"] for event in by.values() if event.get("inclusion")]
        for clip_id, by in events.items()
    }
    return {clip_id: float(max(known)) for clip_id, known in found.items() if known}


def clip_weights(clip_ids: Sequence[str], inclusion: Mapping[str, float]) -> tuple[Floats, str]:
    """Return the weight of each clip (N,), and whether weights are known: `inclusion`, `part` of the clips, or `none`.

    Where they are known for a part, the others count as much as a known one does on average.
    """
    weight_N = np.array([1 / inclusion[clip_id] if clip_id in inclusion else np.nan for clip_id in clip_ids])
    known_N = np.isfinite(weight_N)
    if not known_N.any():
        return np.ones(len(clip_ids)), "none"
    weight_N = np.minimum(weight_N, MOST * float(np.median(weight_N[known_N])))
    weight_N /= weight_N[known_N].mean()
    return np.where(known_N, weight_N, 1.0), "inclusion" if known_N.all() else "part"
