"""The streams of the labelling queue: how a clip was chosen, which is stored with its label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypedDict, get_args

from pipeline.config import LabelConfig

Stream = Literal[
    "random", "flagged", "duplicate", "uncertain", "audit_high", "audit_low", "diverse", "uncovered", "shared",
    "repeat", "gold",
]  # fmt: skip
"""`random`: drawn from its source, for estimates. `flagged`, `duplicate`: drawn likewise from clips that a flag drops,
and from copies. `uncertain`: near the keep threshold. `audit_high`, `audit_low`: drawn from clips above and below it.
`diverse`: unlike the others by its embedding. `uncovered`: the world model predicts it badly, or could only guess in
games at what looks like it. `shared`: a second person rates it. `repeat`: the same person sees it again. `gold`: its
rating is known."""
STREAMS: tuple[Stream, ...] = get_args(Stream)
ACTIVE: tuple[Stream, ...] = ("audit_high", "audit_low", "uncertain", "diverse", "uncovered")
"""Streams that a model chooses; without one, their share goes to `random`. A clip that several would have is in the
first of them: those that are draws come first, so that they stay draws."""


class QueueItem(TypedDict):
    """A clip as the queue's blob lists it."""

    clip_id: str
    stream: Stream
    inclusion: float | None
    """Probability with which the stream drew the clip; None where it is unknown."""


def active_shares(labels: LabelConfig) -> Mapping[Stream, float]:
    """Return the share of the queue that each stream of a model is to have."""
    return {
        "uncertain": labels.uncertain_share,
        "audit_high": labels.audit_high_share,
        "audit_low": labels.audit_low_share,
        "diverse": labels.diverse_share,
        "uncovered": labels.uncovered_share,
    }
