"""Configuration of labels, the quality classifier and the decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict

_FORBID = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """How clips are chosen for labelling."""

    __pydantic_config__ = _FORBID

    queue_size: int = 10000
    """Clips offered to the labellers (Genie App. B.1: 10k)."""
    seed: int = 0
    """Order of the queue."""
    min_per_class: int = 20
    """Labels of 5 and of 1 that the classifier needs at the least, each."""


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """The quality classifier: ResNet18 on single frames, 5 against 1 (Genie App. B.1)."""

    __pydantic_config__ = _FORBID

    width: int = 64
    """Channels of the first stage; 64 is ResNet18 with 11,177,025 parameters."""
    frames_per_clip: int = 8
    """Frames scored per clip."""
    steps: int = 2000
    """Training steps."""
    batch: int = 64
    """Frames per step."""
    learning_rate: float = 1e-3
    """Peak learning rate (AdamW, warm-up, cosine decay)."""
    weight_decay: float = 1e-2
    """AdamW weight decay."""
    folds: int = 4
    """Folds, grouped by source, for out-of-fold scores that calibrate and set the threshold."""
    min_auc: float = 0.7
    """Floor of the AUC on held-out sources: below it nothing is scored."""
    seed: int = 0
    """Same seed, same weights."""


@dataclass(frozen=True, kw_only=True)
class DecisionConfig:
    """How scores and flags become keep, drop or review."""

    __pydantic_config__ = _FORBID

    mode: Literal["classifier", "flags"] = "classifier"
    """`flags` decides without labels, by technical flags alone."""
    target_precision: float = 0.9
    """`keep` asks for a threshold whose precision is at least this on out-of-fold scores."""
    drop_below: float = 0.3
    """Probability under which a clip is dropped; between it and the keep threshold lies the review band."""
    middle: Literal["drop", "keep", "review"] = "review"
    """What happens to the band between."""
    drop_flags: tuple[str, ...] = ("black", "still")
    """Flags that drop a clip whatever its score."""
    keep_duplicates: bool = False
    """Whether copies beside a group's representative are kept."""
