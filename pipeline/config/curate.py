"""Configuration of labels, the quality classifier and the decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.section import Count, Section, Share
from pipeline.errors import UserError


@dataclass(frozen=True, kw_only=True)
class LabelConfig(Section, name="labels"):
    """How clips are chosen for labelling."""

    queue_size: Count = 10000
    """Clips offered to the labellers (Genie App. B.1: 10k)."""
    max_per_source: Count = 40
    """Clips of one channel (or video) offered at most, so that no source fills the queue."""
    flagged_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of clips with a dropping flag among those offered: a few are worth a look, no more."""
    seed: int = 0
    """Order of the queue."""
    min_per_class: Count = 20
    """Labels of 5 and of 1 that the classifier needs at the least, each."""


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Section, name="classifier"):
    """The quality classifier: ResNet18 on single frames, 5 against 1 (Genie App. B.1)."""

    width: Count = 64
    """Channels of the first stage; 64 is ResNet18 with 11,177,025 parameters."""
    input_height: int = 90
    """Rows of pixels that the network sees: a whole fraction of a clip's 90 (45 costs a quarter)."""
    frames_per_clip: Annotated[int, Field(ge=1, le=8)] = 8
    """Frames scored per clip, of the 8 that are stored beside it."""
    steps: Count = 2000
    """Training steps."""
    batch: Count = 64
    """Frames per step."""
    learning_rate: float = 1e-3
    """Peak learning rate (AdamW, warm-up, cosine decay)."""
    weight_decay: float = 1e-2
    """AdamW weight decay."""
    folds: Annotated[int, Field(ge=2)] = 4
    """Folds, grouped by source, for out-of-fold scores that calibrate and set the threshold."""
    good_rating: Annotated[int, Field(ge=2, le=5)] = 4
    """Ratings from here on count as good where all five ratings are judged (calibration, threshold, precision)."""
    min_auc: float = 0.7
    """Floor of the AUC on held-out sources: below it nothing is published."""
    threads: Count = 2
    """Processor threads, shared out among the folds; fixed, as sums in another order give other last digits."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it trains and scores; `auto` takes a GPU if there is one."""
    seed: int = 0
    """Same seed, same weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input_height < 1 or 90 % self.input_height:
            raise UserError(f"classifier.input_height = {self.input_height}: must divide 90 (90, 45 or 30)")


@dataclass(frozen=True, kw_only=True)
class DecisionConfig(Section, name="decision"):
    """How scores and flags become keep, drop or review."""

    mode: Literal["classifier", "flags"] = "classifier"
    """`flags` decides without labels, by technical flags alone."""
    target_precision: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """`keep` asks for a threshold whose precision is at least this on out-of-fold scores."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """How sure that bound must be (one-sided Clopper-Pearson)."""
    drop_below: Share = 0.3
    """Probability under which a clip is dropped; between it and the keep threshold lies the review band."""
    middle: Literal["drop", "keep", "review"] = "review"
    """What happens to the band between."""
    drop_flags: tuple[str, ...] = ("black", "still", "cuts")
    """Flags that drop a clip whatever its score (single frames cannot show that a clip is a montage)."""
    keep_duplicates: bool = False
    """Whether copies beside a group's representative are kept."""
