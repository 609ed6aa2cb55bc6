"""What an audit says about a decision: precision of the kept clips, recall of the whole, each with two intervals.

Clips are weighted by their inclusion probability (Horvitz and Thompson; of a stratum of N clips of which n were
rated, each stands for N / n), so that the many questions near the cut do not distort the figure. Two intervals of 95 %
answer two questions:

- `interval` is of this set. The clips were drawn at random, so what is not known is the rating of those that nobody
  looked at: draws from the posterior of each stratum (Jeffreys' prior), the rated clips counted as they are. With all
  of them rated it is one number, and where no rated one is good, or all are, it still has a width.
- `source_interval` is of sources like these: whole sources are drawn (bootstrap). It is never the narrower one.

Shapes: N rated clips, S strata, D draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from classifier.audit.sample import KEPT, Audit, KnownClips
from classifier.training.arrays import Bools, Floats, Rows
from classifier.training.intervals import Interval, ratio, source_interval
from pipeline.bootstrap import interval_95

FEW_CLIPS, FEW_SOURCES = 20, 5
"""With fewer clips, or of fewer sources, a figure is "too few to tell"."""
NUM_DRAWS = 4000


class Estimate(TypedDict):
    """A figure of an audit."""

    value: float | None
    """None where no clip was rated that it needs."""
    interval: Interval | None
    source_interval: Interval | None
    clips: int
    """Rated clips that it rests on."""
    sources: int
    few: bool
    """Whether these are too few to tell."""


class AuditFigures(TypedDict):
    """What is known of a decision from its audit."""

    precision: Estimate
    """Share of good clips among the kept ones that nobody had rated before."""
    whole_precision: Estimate
    """The same of all kept clips, those included that people had rated before."""
    recall: Estimate
    """Share of all good clips that are kept."""


@dataclass(frozen=True)
class Answers:
    """The rated clips of an audit."""

    clips_S: Rows
    """Clips in each stratum."""
    is_kept_S: Bools
    known: KnownClips
    stratum_N: Rows
    good_N: Bools
    groups_N: Sequence[str]
    """Source of each clip."""


def answers(audit: Audit, stratum_N: Sequence[int], good_N: Sequence[bool], groups_N: Sequence[str]) -> Answers:
    """Return the ratings of an audit's clips as arrays."""
    return Answers(
        clips_S=np.array([stratum["clips"] for stratum in audit["strata"]], np.int64),
        is_kept_S=np.array([stratum["name"] == KEPT for stratum in audit["strata"]], bool),
        known=audit["known"],
        stratum_N=np.array(stratum_N, np.int64),
        good_N=np.array(good_N, bool),
        groups_N=groups_N,
    )


def estimate(found: Answers, seed: int = 0) -> AuditFigures:
    """Return precision and recall; the same answers and seed give the same figures."""
    drawn_DS = _posterior_totals(found, seed)
    return AuditFigures(
        precision=_estimate(found, _precision, drawn_DS, only_kept=True),
        whole_precision=_estimate(found, _whole_precision, drawn_DS, only_kept=True),
        recall=_estimate(found, _recall, drawn_DS, only_kept=False),
    )


Metric = Callable[[Answers, Floats], Floats]
"""From the number of good clips in each stratum (D, S) to the figure (D,)."""


def _precision(found: Answers, good_DS: Floats) -> Floats:
    return _share(good_DS[:, found.is_kept_S].sum(axis=1), found.clips_S[found.is_kept_S].sum())


def _whole_precision(found: Answers, good_DS: Floats) -> Floats:
    good_D = good_DS[:, found.is_kept_S].sum(axis=1) + found.known["kept_good"]
    return _share(good_D, found.clips_S[found.is_kept_S].sum() + found.known["kept"])


def _recall(found: Answers, good_DS: Floats) -> Floats:
    kept_D = good_DS[:, found.is_kept_S].sum(axis=1) + found.known["kept_good"]
    left_D = good_DS[:, ~found.is_kept_S].sum(axis=1) + found.known["left_good"]
    return ratio(kept_D, kept_D + left_D)


def _share(good_D: Floats, clips: int) -> Floats:
    return ratio(good_D, np.full(len(good_D), float(clips)))


def _estimate(found: Answers, metric: Metric, drawn_DS: Floats, *, only_kept: bool) -> Estimate:
    is_kept_N = found.is_kept_S[found.stratum_N]
    groups = set(np.array(found.groups_N, str)[is_kept_N] if only_kept else found.groups_N)
    clips = int(is_kept_N.sum()) if only_kept else len(is_kept_N)
    # of the others there may be fewer than the least number: then all of them are enough
    left_needed = 0 if only_kept else min(FEW_CLIPS, int(found.clips_S[~found.is_kept_S].sum()))
    few = clips < FEW_CLIPS or len(groups) < FEW_SOURCES or int((~is_kept_N).sum()) < left_needed
    value = float(metric(found, _totals(found, np.ones((1, len(is_kept_N)))))[0])
    if not np.isfinite(value):
        return Estimate(value=None, interval=None, source_interval=None, clips=clips, sources=len(groups), few=True)
    interval = interval_95(metric(found, drawn_DS))
    by_source = source_interval(lambda weights_DN: metric(found, _totals(found, weights_DN)), found.groups_N)
    if by_source is not None:
        by_source = (min(interval[0], by_source[0]), max(interval[1], by_source[1]))
    return Estimate(
        value=value, interval=interval, source_interval=by_source, clips=clips, sources=len(groups), few=few
    )


def _totals(found: Answers, weights_DN: Floats) -> Floats:
    """Return the estimated number of good clips in each stratum (D, S); NaN for one of which no clip was rated."""
    rated_DS, good_DS = _sums(found, weights_DN), _sums(found, weights_DN * found.good_N)
    unknown = np.broadcast_to(np.where(found.clips_S == 0, 0.0, np.nan), rated_DS.shape).copy()
    return np.divide(good_DS * found.clips_S, rated_DS, out=unknown, where=rated_DS > 0)


def _sums(found: Answers, values_DN: Floats) -> Floats:
    """Return the sums over the clips of each stratum (D, S)."""
    is_in_NS = found.stratum_N[:, None] == np.arange(len(found.clips_S))
    sums: Floats = values_DN @ is_in_NS.astype(float)
    return sums


def _posterior_totals(found: Answers, seed: int) -> Floats:
    """Return draws of the number of good clips in each stratum (D, S): the rated ones, and a guess at the others."""
    random = np.random.default_rng(seed)
    ones = np.ones((1, len(found.good_N)))
    rated_S = _sums(found, ones)[0]
    good_S = _sums(found, ones * found.good_N)[0]
    share_DS = random.beta(good_S + 0.5, rated_S - good_S + 0.5, (NUM_DRAWS, len(rated_S)))
    others_S = (found.clips_S - rated_S).astype(np.int64)
    totals: Floats = good_S + random.binomial(others_S, share_DS)
    return totals
