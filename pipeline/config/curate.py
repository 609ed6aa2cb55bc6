"""Configuration of labels, the quality classifier and the decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from pipeline.config.section import Count, Section, Share
from pipeline.errors import UserError

Candidate = Literal["measurements", "embedding", "blend", "network"]
"""A way to score clips that can be published."""

_QUEUE_SHARES = (
    "flagged_share", "uncertain_share", "diverse_share", "audit_high_share", "audit_low_share", "uncovered_share",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LabelConfig(Section, name="labels"):
    """How clips are chosen for labelling."""

    queue_size: Count = 10000
    """Clips in the labelling queue (Genie App. B.1: 10k)."""
    max_per_source: Count = 40
    """Clips of one channel (or video) in the queue at most, so that no source fills it."""
    flagged_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of queued clips with a flag that drops them: enough to check the flags, no more."""
    shared_share: Share = 0.05
    """Share of clips that two people rate, where several divide the queue (`lampworks label --annotators`)."""
    repeat_share: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Share of clips before which the page shows a person a clip again that they rated: they learn how far they agree
    with themselves, and the first rating stays."""
    gold_share: Annotated[float, Field(ge=0, le=0.5)] = 0.01
    """Share of clips before which the page shows a clip with a reference rating, or on which others agree."""
    uncertain_share: Share = 0.2
    """Share of clips near the keep threshold, once clips are scored; without scores, their share is drawn at random."""
    diverse_share: Share = 0.1
    """Share of clips that are unlike the others by their embeddings, where there are any."""
    audit_high_share: Share = 0.05
    """Share drawn from the clips that their score keeps."""
    audit_low_share: Share = 0.05
    """Share drawn from the clips that their score does not keep."""
    uncovered_share: Share = 0.05
    """Share of clips that the world model predicts badly, where an evaluation says so by clip."""
    seed: NonNegativeInt = 0
    """Seed of the queue's order, and of how people divide it."""
    min_per_class: Count = 10
    """Least number of good clips (`classifier.good_rating` or more) and of bad ones (rated 1 or 2) to learn from."""
    min_agreement: Annotated[float, Field(ge=-1, le=1)] = 0.667
    """Krippendorff's alpha of clips that several people rated, below which the check `agreement` warns."""

    def __post_init__(self) -> None:
        super().__post_init__()
        asked = {name: value for name, value in vars(self).items() if name in _QUEUE_SHARES}
        if sum(asked.values()) > 0.9 + 1e-9:
            told = " + ".join(f"labels.{name} = {value:g}" for name, value in asked.items() if value)
            raise UserError(
                f"{told}: together more than 0.9 of the queue; at least a tenth is drawn at random, because only these "
                "labels estimate shares of all clips. Lower one of them"
            )


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Section, name="classifier"):
    """The quality classifier: several candidates, compared by cross-validation; the best one is published."""

    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1)] = (
        "measurements",
        "embedding",
        "blend",
        "network",
    )
    """Candidates that are compared: `measurements` (scikit-learn on the hand measurements), `embedding` (ridge on a
    frozen ImageNet network), `blend` (both), `network` (a ResNet18 on single frames, Genie App. B.1)."""
    targets: Literal["paper", "ordinal", "soft"] = "paper"
    """What the network learns: `paper` 5 against 1, the middle dropped; `ordinal` one logit with four learned cut
    points, all ratings; `soft` the rating as a share, all ratings."""
    width: Count = 64
    """Channels of the network's first stage; 64 is ResNet18 with 11,177,025 parameters."""
    input_height: int = 90
    """Height in pixels of the frames that the network sees: 90, 45 or 30 (45 costs a quarter of 90)."""
    frames_per_clip: Annotated[int, Field(ge=1, le=8)] = 8
    """Frames per clip that the network sees, of the 8 that are stored beside it."""
    steps: Count = 2000
    """Training steps of the network."""
    batch: Count = 64
    """Frames per step."""
    learning_rate: float = 1e-3
    """Peak learning rate (AdamW, warm-up, cosine decay)."""
    weight_decay: float = 1e-2
    """AdamW weight decay."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Folds, grouped by source: out-of-fold scores choose the candidate, calibrate it and set the keep threshold."""
    repeats: Count = 5
    """How often the folds are drawn anew; the network is repeated only while it leads, because it costs most."""
    good_rating: Annotated[int, Field(ge=2, le=5)] = 4
    """Least rating that counts as good in calibration, threshold and precision, which use all five ratings."""
    min_auc: float = 0.7
    """Out-of-fold AUC that must be possible: where even the upper bound of the published candidate is lower, nothing is
    published. A figure of too few clips (under 20 of 5 sources a side) refuses nothing."""
    threads: Count = 2
    """CPU threads, divided among the folds; another number rounds sums differently and gives a network other
    weights."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device on which the network is trained and scores; `auto` takes a GPU if there is one."""
    seed: NonNegativeInt = 0
    """Seed of initial weights, draws and folds; the same seed gives the same weights on one kind of processor."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input_height < 1 or 90 % self.input_height:
            raise UserError(f"classifier.input_height = {self.input_height}: must divide 90 (90, 45 or 30)")


@dataclass(frozen=True, kw_only=True)
class DecisionConfig(Section, name="decision"):
    """How scores and flags become keep, drop or review."""

    mode: Literal["classifier", "flags", "recipe"] = "classifier"
    """`classifier` decides by score; `flags` needs no labels and decides by technical flags alone; `recipe` keeps what
    the recipe of `source.spec` lists (`lampworks rebuild` sets it)."""
    target_precision: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Share of good clips among the kept ones that the keep threshold must reach, as estimated on out-of-fold scores of
    all rated clips. The threshold is the lowest one that does, at least 20 rated clips deep and not below
    `drop_below`."""
    confidence: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Unset: the estimate itself must reach the target. A number, such as 0.95: its one-sided lower bound at that
    confidence must, by bootstrap over sources."""
    fallback: Literal["best-precision", "keep-rate"] = "best-precision"
    """What is kept where no threshold reaches the target, with a warning: the clips from the score on at which the
    estimated precision is highest (at least 20 rated clips deep), or the best-scored `fallback_keep_rate` of them."""
    fallback_keep_rate: Annotated[float, Field(gt=0, le=1)] = 0.124
    """Share of the clips that is kept by `fallback: keep-rate`, and where fewer than 20 clips are rated (12.4 %: the
    paper)."""
    threshold: Share | None = None
    """A fixed keep threshold (a probability), instead of one that is chosen by `target_precision`."""
    keep_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    """A share of all clips to keep, the best-scored ones (0.124: the paper), instead of `target_precision`."""
    drop_below: Share = 0.3
    """Probability below which a clip is dropped; from here to the keep threshold, `middle` decides."""
    middle: Literal["drop", "keep", "review"] = "review"
    """Decision on clips between `drop_below` and the keep threshold."""
    drop_flags: tuple[str, ...] = ("black", "still", "hdr")
    """Flags that drop a clip whatever its score (scores see single frames, which cannot show a standstill)."""
    min_usable_share: Share = 0.5
    """Share of a clip's frames that must lie in shots of `shot_frames` or more, because no training window spans a
    scene cut; a clip with less is dropped. 0 drops none."""
    shot_frames: Count = 16
    """Frames of the shortest shot that counts as usable: a training window."""
    max_per_channel: Count | None = None
    """Clips of one channel (or video) that are kept at most: those that people rated good, then the best-scored."""
    keep_duplicates: bool = False
    """Whether near-duplicates are decided like other clips; if not, one clip of a group can be kept: its
    representative, or the best-scored copy where a hard rule drops that. Shards refuse copies in two splits."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold is not None and self.keep_rate is not None:
            raise UserError(
                f"decision.threshold = {self.threshold:g} and decision.keep_rate = {self.keep_rate:g}: each of them "
                "alone says what is kept; unset one (null)"
            )
