"""The status of a store as values: one dataclass per stage, whose fields are the keys of `lampworks status --json`.

The two sides of each total are counted from different places, so that `pipeline.inspect.conservation` can compare them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.costs.stages import StageCost

Counts = Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class VideosStatus:
    """Videos that the searches found."""

    found: int
    """As the searches counted them."""
    kept: int
    licences: Counts
    """Kept videos by licence."""
    rejected: Counts
    """By the rule that decided."""
    removed: int = 0
    """Videos of which a takedown removed every row."""


@dataclass(frozen=True, kw_only=True)
class DownloadsStatus:
    """Kept videos by the state that their attempts left them in."""

    ok: int
    failed: Counts
    """By error class."""
    rejected: Counts
    """By error class: their download showed that they must not be used."""
    pending: int
    pending_by_class: Counts
    """`new`: never tried."""
    taken_down: int


@dataclass(frozen=True, kw_only=True)
class SiteStatus:
    """The circuit breaker of a site that has refused at least once."""

    state: str
    """`open` (downloads pause), `half_open` (one video is tried next) or `closed`."""
    refusals: int
    """In a row."""
    error_class: str | None
    message: str | None
    changed_at: str
    """ISO 8601, as is `next_try_at`."""
    next_try_at: str | None


@dataclass(frozen=True, kw_only=True)
class ClipsStatus:
    """Clips under the current clip_spec, and the videos that they were cut from."""

    clip_spec: str
    total: int
    """Rows of `clips`."""
    announced: int
    """As the cuts counted them."""
    videos_cut: int
    videos_earlier: int
    """Cut from a file that changed since and whose present state is not fetched (yet)."""
    videos_pending: int
    """Downloaded and not yet cut."""
    failed: Counts
    """Videos that could not be cut, by error class."""
    flagged: Counts
    """Clips by flag."""
    source_seconds: float
    clip_seconds: float
    remainder_seconds: float
    """Seconds of the source in no clip."""
    lost_seconds: dict[str, float]
    """Seconds of the source that cannot be cut, by reason."""
    disagreeing: list[str]
    """Videos whose packets hold another time than their pictures: ten of them at most."""
    duplicates: int | None
    """Clips that another clip represents; None where these clips were never compared."""
    grouped: int | None
    """Clips with a group of near-duplicates; None while the groups are not current."""


@dataclass(frozen=True, kw_only=True)
class LabelsStatus:
    """Labels as they count now."""

    total: int
    """Labelled clips."""
    by_rating: Counts
    """`1` to `5`."""
    unresolved: int
    """Labels whose clip does not exist."""
    left_behind: int
    """Clips whose label does not count: it is of an earlier picture, which another one replaced."""
    annotators: Counts
    """Clips by annotator."""


@dataclass(frozen=True, kw_only=True)
class CuratedStatus:
    """The decision on clips."""

    keep: int
    drop: int
    review: int
    reasons: Counts
    """By `<decision>: <reason>`, without what differs from clip to clip."""
    model_version: str | None
    """The classifier that decided."""
    current: bool
    """Whether it was made from the tables as they are now."""
    undecided: int
    """Clips without a decision."""
    threshold: ThresholdStatus | None = None
    """None where no score decided."""
    audit: tuple[str, ...] = ()
    """What its audit says, a line each; empty before the first one."""
    changes: tuple[str, ...] = ()
    """What changed since the decision before, a line each; empty for the first decision."""


@dataclass(frozen=True, kw_only=True)
class ThresholdStatus:
    """The probability from which on clips are kept, with the estimates of the precision on rated clips."""

    rule: str
    """What set it: `target precision`, `lower bound`, `best precision`, `keep rate` or `fixed`."""
    threshold: float
    target_precision: float
    reached: bool | None
    """Whether the target was reached; None where the rule has none."""
    precision: float | None
    """Share of good clips among the rated ones above it."""
    expected: float | None
    """The same for clips of other sources: without the optimism of choosing the threshold on these clips."""
    low: float | None
    high: float | None
    """Ends of the 95 % interval of `expected`."""
    bound: float | None
    """One-sided lower bound of the precision, with `confidence`, over sources."""
    confidence: float
    recall: float | None
    rated: int
    """Rated clips above the threshold, on which the precision rests, of `sources` sources."""
    sources: int
    warning: str
    """What is kept instead and what would help, where the target is not reached; empty otherwise."""


@dataclass(frozen=True, kw_only=True)
class SplitStatus:
    """Shards of one split."""

    shards: int
    samples: int


@dataclass(frozen=True, kw_only=True)
class ShardsStatus:
    """The training set."""

    version: str | None
    current: bool
    """Whether it was made from the decision as it is now."""
    announced: Counts | None
    """Samples by split as the manifest counts them; None without a set."""
    train: SplitStatus
    val: SplitStatus
    test: SplitStatus

    def of(self, split: Literal["train", "val", "test"]) -> SplitStatus:
        """Return the shards of a split."""
        return {"train": self.train, "val": self.val, "test": self.test}[split]


@dataclass(frozen=True, kw_only=True)
class TokensStatus:
    """The token shards, which are made on request."""

    version: str | None
    tokenizer: str | None
    current: bool
    """Whether they were made from the shards and takedowns as they are now."""
    clips: int
    left_out: int
    """Clips that could not be encoded."""
    windows: int
    window: int
    """Frames of one."""
    tars: int


@dataclass(frozen=True, kw_only=True)
class ModelStatus:
    """A published model."""

    model_id: str
    parameters: int | None
    steps: int | None


@dataclass(frozen=True, kw_only=True)
class ModelsStatus:
    """The model of each kind that the configuration stands for, and the newest classifier."""

    in_use: Mapping[str, ModelStatus]
    notes: Sequence[str]
    """What is not as configured: trained on older shards, or not trained with the present settings."""
    dangling: Sequence[str]
    """Ids that a decision or a model refers to and that have no row."""


@dataclass(frozen=True, kw_only=True)
class ClassifierStatus:
    """The published candidate with its out-of-fold AUC (good clips against bad ones) and the 95 % interval of it."""

    published: str
    why: str
    auc: float | None
    low: float | None
    high: float | None
    clips: int
    sources: int
    few: bool
    """Whether these are too few to tell."""


@dataclass(frozen=True, kw_only=True)
class MetricStatus:
    """A measured value with the ends of its confidence interval."""

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None
    """Why there is no value, or no interval."""


@dataclass(frozen=True, kw_only=True)
class FvdStatus(MetricStatus):
    """A Frechet video distance, with what it must not be read without."""

    name: str
    """With the network, as `FVD[transnetv2]`: never the FVD of papers, which is on I3D."""
    sha256: str | None
    """Of the network's weights."""
    num_sources: int
    num_samples: int | None
    """Videos of each set."""
    floors: Mapping[str, MetricStatus]
    """The same figure of the tokenizer's reconstructions, and of two halves of the true videos."""


@dataclass(frozen=True, kw_only=True)
class UncoveredStatus:
    """Situations of games that a world could only guess."""

    total: int = 0
    without_clips: int = 0
    """Those that name no clip which looks like them."""


@dataclass(frozen=True, kw_only=True)
class StoreStatus:
    """The state of every stage."""

    root: str
    videos: VideosStatus
    downloads: DownloadsStatus
    sites: Mapping[str, SiteStatus]
    clips: ClipsStatus
    labels: LabelsStatus
    curated: CuratedStatus
    shards: ShardsStatus
    tokens: TokensStatus
    models: ModelsStatus
    classifier: ClassifierStatus | None
    """None without one of the present format."""
    evaluation: Mapping[str, MetricStatus]
    """Of the configured world's evaluation, by name; empty without one."""
    fvd: FvdStatus | None
    """The Frechet video distance of that evaluation; None without an evaluation, or in one that did not ask for it."""
    evaluation_current: bool
    """Whether it is of the present shards and settings; True without one."""
    uncovered: UncoveredStatus = UncoveredStatus()
    deleted_rows: Counts
    """Rows by table that something other than lampworks deleted."""
    costs: Sequence[StageCost] = ()
    """What each stage has used, in the order of a pass."""
    violations: Sequence[str] = ()
    """One sentence per total that does not balance."""

    @property
    def conserved(self) -> bool:
        """Whether all totals balance."""
        return not self.violations

    def to_json(self) -> dict[str, Any]:
        """Return what `lampworks status --json` prints."""
        plain = dataclasses.asdict(self)
        models = plain["models"]
        plain["models"] = {**models.pop("in_use"), **models}
        violations = plain.pop("violations")
        plain["costs"] = [cost.to_json() for cost in self.costs]
        return {**plain, "conserved": self.conserved, "violations": list(violations)}
