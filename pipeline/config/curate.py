"""Configuration of labels, the quality classifier and the decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict

from pipeline.errors import UserError

_FORBID = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """How clips are chosen for labelling."""

    __pydantic_config__ = _FORBID

    queue_size: int = 10000
    """Clips offered to the labellers (Genie App. B.1: 10k)."""
    max_per_source: int = 40
    """Clips of one channel (or video) offered at most, so that no source fills the queue."""
    flagged_share: float = 0.1
    """Share of clips with a dropping flag among those offered: a few are worth a look, no more."""
    seed: int = 0
    """Order of the queue."""
    min_per_class: int = 20
    """Labels of 5 and of 1 that the classifier needs at the least, each."""

    def __post_init__(self) -> None:
        for name in ("queue_size", "max_per_source", "min_per_class"):
            if getattr(self, name) < 1:
                raise UserError(f"labels.{name} = {getattr(self, name)}: must be at least 1")
        if not 0 <= self.flagged_share < 1:
            raise UserError(f"labels.flagged_share = {self.flagged_share}: must be at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """The quality classifier: ResNet18 on single frames, 5 against 1 (Genie App. B.1)."""

    __pydantic_config__ = _FORBID

    width: int = 64
    """Channels of the first stage; 64 is ResNet18 with 11,177,025 parameters."""
    input_height: int = 90
    """Rows of pixels that the network sees: a whole fraction of a clip's 90 (45 costs a quarter)."""
    frames_per_clip: int = 8
    """Frames scored per clip, of the 8 that are stored beside it."""
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
    good_rating: int = 4
    """Ratings from here on count as good where all five ratings are judged (calibration, threshold, precision)."""
    min_auc: float = 0.7
    """Floor of the AUC on held-out sources: below it nothing is published."""
    threads: int = 2
    """Processor threads, shared out among the folds; fixed, as sums in another order give other last digits."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it trains and scores; `auto` takes a GPU if there is one."""
    seed: int = 0
    """Same seed, same weights."""

    def __post_init__(self) -> None:
        if self.input_height < 1 or 90 % self.input_height:
            raise UserError(f"classifier.input_height = {self.input_height}: must divide 90 (90, 45 or 30)")
        if not 1 <= self.frames_per_clip <= 8:
            raise UserError(f"classifier.frames_per_clip = {self.frames_per_clip}: must lie between 1 and 8")
        if self.folds < 2:
            raise UserError(f"classifier.folds = {self.folds}: must be at least 2")
        if not 2 <= self.good_rating <= 5:
            raise UserError(f"classifier.good_rating = {self.good_rating}: must lie between 2 and 5")
        for name in ("width", "steps", "batch", "threads"):
            if getattr(self, name) < 1:
                raise UserError(f"classifier.{name} = {getattr(self, name)}: must be at least 1")


@dataclass(frozen=True, kw_only=True)
class DecisionConfig:
    """How scores and flags become keep, drop or review."""

    __pydantic_config__ = _FORBID

    mode: Literal["classifier", "flags"] = "classifier"
    """`flags` decides without labels, by technical flags alone."""
    target_precision: float = 0.9
    """`keep` asks for a threshold whose precision is at least this on out-of-fold scores."""
    confidence: float = 0.95
    """How sure that bound must be (one-sided Clopper-Pearson)."""
    drop_below: float = 0.3
    """Probability under which a clip is dropped; between it and the keep threshold lies the review band."""
    middle: Literal["drop", "keep", "review"] = "review"
    """What happens to the band between."""
    drop_flags: tuple[str, ...] = ("black", "still", "cuts")
    """Flags that drop a clip whatever its score (single frames cannot show that a clip is a montage)."""
    keep_duplicates: bool = False
    """Whether copies beside a group's representative are kept."""

    def __post_init__(self) -> None:
        for name in ("target_precision", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"decision.{name} = {getattr(self, name)}: must lie between 0 and 1")
        if not 0 <= self.drop_below <= 1:
            raise UserError(f"decision.drop_below = {self.drop_below}: must lie between 0 and 1")
