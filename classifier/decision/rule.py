"""The rule that decides on every clip: keep, drop or review, by the first of these that applies.

Genie App. B.1 decides by "model prediction and confidence". Here that is three bands of the calibrated probability:
keep from a threshold on (`threshold.py`), drop below another one, and between them what `decision.middle` says.

1. a person rated the clip 1 or 2: drop
2. another clip stands for its group of near-duplicates: drop
3. a person rated it good (`classifier.good_rating` or more): keep, whatever flags and score say
4. it has a flag that drops: drop
5. scene cuts leave too few usable frames: drop
6. it has no score, because its frames could not be read: drop
7. its probability
8. enough clips of its channel are kept: drop

The embedded source's stand-in labeller is not a person: the classifier learns from its ratings, but they decide
nothing. With `decision.mode = flags` the technical flags alone decide (in place of 6 and 7), and every reason says so.

Dimension keys: P clips of the pool, by batch and by clip_id.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from classifier.decision.hard_rules import Bits
from classifier.decision.pool_state import PoolState
from classifier.training.arrays import Bools, Floats
from pipeline.config import DecisionConfig

Decision = Literal["keep", "drop", "review"]
DECISIONS: tuple[Decision, ...] = ("keep", "drop", "review")


class Verdict(NamedTuple):
    """What was decided on a clip, and why."""

    decision: Decision
    reason: str
    """For people, with the numbers of this clip."""
    kind: str
    """The reason without this clip's numbers, to count by."""


class Outcome(IntEnum):
    """What decided on a clip."""

    RATED_BAD, DUPLICATE, RATED_GOOD, FLAG, USABLE, NO_SCORE = range(6)
    SCORE_KEEP, SCORE_BETWEEN, SCORE_DROP, OTHER_FLAGS, NO_FLAGS, CHANNEL_CAP = range(6, 12)


@dataclass(frozen=True)
class HardRules:
    """Which hard rules apply to each clip, before any score."""

    dropping_P: Bits
    """Its flags that drop."""
    unusable_P: Bools
    no_score_P: Bools
    copy_P: Bools
    """Whether another clip stands for its group."""
    stands_for_P: npt.NDArray[np.int64]
    """Index of the clip that stands for its group; its own where it has none."""

    @property
    def technical_P(self) -> Bools:  # noqa: N802 - the suffix says the shape
        """Whether a technical rule drops it."""
        return (self.dropping_P != 0) | self.unusable_P | self.no_score_P

    @property
    def any_P(self) -> Bools:  # noqa: N802 - the suffix says the shape
        """Whether any hard rule drops it."""
        return self.technical_P | self.copy_P


def hard_rules(state: PoolState, config: DecisionConfig, good_rating: int) -> HardRules:
    """Return what the hard rules say of every clip."""
    dropping_P = state.flags_P & state.words.mask(config.drop_flags)
    unusable_P = state.usable_P < config.min_usable_share
    no_score_P = np.isnan(state.probability_P) if config.mode == "classifier" else np.zeros(len(state), bool)
    technical_P = (dropping_P != 0) | unusable_P | no_score_P
    stands_for_P = np.arange(len(state))
    if not config.keep_duplicates:
        stands_for_P = _stand_ins(state, technical_P, good_rating)
    return HardRules(dropping_P, unusable_P, no_score_P, stands_for_P != np.arange(len(state)), stands_for_P)


def _stand_ins(state: PoolState, technical_P: Bools, good_rating: int) -> npt.NDArray[np.int64]:
    """Return the index of the clip that stands for each clip's group.

    It is the representative, also where a person rated it bad: its copies show the same. Where a technical rule drops
    it, or it is not there any more, it is the best-scored copy to which no such rule applies.
    """
    stands_for_P = np.arange(len(state))
    (members,) = np.nonzero(state.group_P >= 0)
    lifted = state.by_people_P[members] & (state.rating_P[members] >= good_rating)
    rated_bad = state.by_people_P[members] & (state.rating_P[members] <= 2)
    fit = ~technical_P[members] | lifted | rated_bad
    represents = state.represents_P[members]
    score = np.nan_to_num(state.probability_P[members], nan=-1.0)
    # the best comes first; among equals the representative, then the first by batch and id
    order = np.lexsort((members, -score, ~represents, ~fit, state.group_P[members]))
    groups = state.group_P[members][order]
    first = np.flatnonzero(np.append(True, groups[1:] != groups[:-1])) if len(groups) else np.zeros(0, int)
    sizes = np.diff(np.append(first, len(groups)))
    stands_for_P[members[order]] = np.repeat(members[order][first], sizes)
    return stands_for_P


def outcomes(
    state: PoolState, hard: HardRules, config: DecisionConfig, good_rating: int, keep_from: float, drop_below: float
) -> npt.NDArray[np.int8]:
    """Return the `Outcome` of every clip (P,).

    Args:
        state: the clips.
        hard: what the hard rules say of them.
        config: the rule.
        good_rating: least rating that is good.
        keep_from: probability from which a clip is kept.
        drop_below: probability below which a clip is dropped; at most `keep_from`.
    """
    if config.mode == "flags":
        found_P = np.where(state.flags_P != 0, Outcome.OTHER_FLAGS, Outcome.NO_FLAGS).astype(np.int8)
    else:
        kept_P, low_P = state.probability_P >= keep_from, state.probability_P < drop_below
        found_P = np.where(kept_P, Outcome.SCORE_KEEP, np.where(low_P, Outcome.SCORE_DROP, Outcome.SCORE_BETWEEN))
        found_P = found_P.astype(np.int8)
    # the last that is set is the first of the docstring
    found_P[hard.no_score_P] = Outcome.NO_SCORE
    found_P[hard.unusable_P] = Outcome.USABLE
    found_P[hard.dropping_P != 0] = Outcome.FLAG
    found_P[state.by_people_P & (state.rating_P >= good_rating)] = Outcome.RATED_GOOD
    found_P[hard.copy_P] = Outcome.DUPLICATE
    found_P[state.by_people_P & (state.rating_P <= 2)] = Outcome.RATED_BAD
    if config.max_per_channel is not None:
        found_P[_over_cap(state, kept_by(found_P, config), config.max_per_channel)] = Outcome.CHANNEL_CAP
    return found_P


def kept_by(outcome_P: npt.NDArray[np.int8], config: DecisionConfig) -> Bools:
    """Return which clips are kept (P,)."""
    keeping = [Outcome.RATED_GOOD, Outcome.SCORE_KEEP, Outcome.NO_FLAGS]
    if config.middle == "keep":
        keeping += [Outcome.SCORE_BETWEEN, Outcome.OTHER_FLAGS]
    return np.isin(outcome_P, keeping)


def _over_cap(state: PoolState, kept_P: Bools, most: int) -> npt.NDArray[np.int64]:
    """Return the kept clips that come after the best of their channel: those rated by people, then by score."""
    (kept,) = np.nonzero(kept_P)
    rated = np.where(state.by_people_P[kept], state.rating_P[kept], 0)
    score = np.nan_to_num(state.probability_P[kept], nan=-1.0)
    order = kept[np.lexsort((kept, -score, -rated, state.source_P[kept]))]
    sources = state.source_P[order]
    first = np.searchsorted(sources, sources, side="left")
    return order[np.arange(len(order)) - first >= most]


def percentiles(probability_P: Floats) -> Floats:
    """Return the share of the scored clips whose probability is lower (P,); NaN without a score."""
    known = np.sort(probability_P[~np.isnan(probability_P)])
    below = np.searchsorted(known, probability_P, side="left") / max(len(known), 1)
    return np.where(np.isnan(probability_P), np.nan, below)
