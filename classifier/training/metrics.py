"""The metrics of a published classifier as plain numbers: the column `figures` of `models`, read by report and checks.

    metrics["headline"]                  -> the out-of-fold AUC of the published candidate, with its interval
    metrics["candidates"]                -> the table: every candidate and reference on the same out-of-fold clips
    metrics["published"], ["why"]        -> the candidate that is published, and the reason in a sentence
    metrics["calibration"]               -> how well probabilities agree with shares
    metrics["promotion"]                 -> the comparison with the classifier that was published before

A figure with `few` set is printed as "too few to tell" and decides nothing.
"""

from __future__ import annotations

from typing import TypedDict

from classifier.training.intervals import Interval

FORMAT = 2
"""Of these metrics."""
FEW_CLIPS = 20
"""Clips on a side (good or bad) below which an AUC is "too few to tell"."""
FEW_SOURCES = 5
"""Sources on a side below which an AUC is "too few to tell"."""


class AucMetrics(TypedDict):
    """An AUC with its 95 % interval over sources, and what it is measured on."""

    auc: float | None
    """None without both good and bad clips."""
    interval: Interval | None
    """None with fewer than three sources."""
    clips: int
    """Good and bad clips; those between are not compared."""
    good: int
    bad: int
    sources: int
    good_sources: int
    bad_sources: int
    few: bool
    """Whether a side has fewer than 20 clips of 5 sources: too few to tell."""


class PairedMetrics(TypedDict):
    """The difference of two AUCs on the same clips, with its interval over sources (common draws)."""

    difference: float
    interval: Interval | None
    clips: int
    sources: int
    few: bool


class CandidateMetrics(TypedDict):
    """One row of the table of candidates."""

    name: str
    reference: bool
    """Shown for comparison, never published: motion alone, the best flag."""
    auc: AucMetrics | None
    """Good clips (rated `good_rating` or more) against bad ones (rated 1 or 2); None where it was left out."""
    extremes: AucMetrics | None
    """Clips rated 5 against clips rated 1."""
    lower: float | None
    """Lower bound of `auc`, by which the best is published."""
    repeats: int
    """Repeats of the folds; 0 where it was left out."""
    cpu_seconds: float
    """Processor time of its fits; no part of any hash."""
    below_published: PairedMetrics | None
    """AUC of the published candidate less this one; None for itself and where one has none."""
    note: str
    """Why it was left out or not repeated, or what it is made of; empty without a remark."""


class ReliabilityBin(TypedDict):
    """Clips of similar probability."""

    probability: float
    """Their mean probability."""
    good: float
    """Share of them that is good."""
    clips: int


class Histogram(TypedDict):
    """Good and other clips by probability."""

    edges: list[float]
    good: list[int]
    bad: list[int]


class CalibrationMetrics(TypedDict):
    """How well probabilities agree with shares, on clips that the calibration was not fitted on (by source)."""

    method: str
    """`platt` or `isotonic`."""
    weights: str
    """How labelled clips stand for all clips: `inclusion` (by the probability with which each was drawn), `part`
    (known for some of them), or `none` (all count alike, because it is not known)."""
    brier: float | None
    brier_interval: Interval | None
    log_loss: float | None
    log_loss_interval: Interval | None
    expected_error: float | None
    """Mean distance between probability and share over the bins."""
    expected_error_interval: Interval | None
    bins: list[ReliabilityBin]
    histogram: Histogram
    clips: int
    sources: int
    few: bool


class HeldOutMetrics(TypedDict):
    """The check of the published candidate on sources that nothing was learned from or chosen on."""

    used: bool
    """Whether sources were held out."""
    why: str
    auc: AucMetrics | None


class LabelCounts(TypedDict):
    """Rated clips."""

    by_rating: dict[str, int]
    train: int
    """Learned from, by cross-validation."""
    held_out: int
    good: int
    bad: int
    sources: int


class PromotionMetrics(TypedDict):
    """The comparison of a new classifier with the published one before it."""

    champion: str | None
    """Id of the classifier before; None without one."""
    replaced: bool
    """Whether the new one took its place."""
    why: str
    champion_auc: AucMetrics | None
    challenger_auc: AucMetrics | None
    """Both on the same clips, of sources that neither had learned from when it scored them."""
    difference: PairedMetrics | None
    """Challenger less champion."""


class ClassifierMetrics(TypedDict):
    """All metrics of a classifier."""

    format: int
    published: str
    """Name of the published candidate."""
    why: str
    candidates: list[CandidateMetrics]
    headline: AucMetrics
    """Of the published candidate, out of fold: the figure that people are told first."""
    beats_reference: bool | None
    """Whether its AUC is above that of every reference (the paired interval excludes 0); None: too few to tell."""
    folds: int
    repeats: int
    grouped_by: str
    good_rating: int
    calibration: CalibrationMetrics
    by_rating: dict[str, float]
    """Mean out-of-fold probability by rating."""
    labels: LabelCounts
    held_out: HeldOutMetrics
    promotion: PromotionMetrics
    unreadable: dict[str, str]
    """Reason by clip_id of rated clips that could not be read."""


def auc_text(found: AucMetrics | None) -> str:
    """Return an AUC for people: `0.93 (0.88 to 0.97; 94 clips of 24 sources)`, or that there are too few to tell."""
    if found is None or found["auc"] is None:
        return "not known"
    on = f"{found['clips']} clips of {found['sources']} sources"
    interval = found["interval"]
    span = "no interval" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"
    return f"{found['auc']:.2f} ({span}; {on})" + (": too few to tell" if found["few"] else "")
