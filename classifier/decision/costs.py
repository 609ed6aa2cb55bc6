"""What each hard rule costs: the clips that it drops, those that it alone drops, and how often it is wrong.

Dimension keys: P clips of the pool.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from classifier.decision.rows import Verdicts
from classifier.decision.rule import Outcome
from classifier.decision.tradeoff import HardRuleCost
from classifier.training.arrays import Bools


def hard_rule_costs(verdicts: Verdicts, good_rating: int) -> list[HardRuleCost]:
    """Return the cost of every hard rule that applies to a clip, in the order in which they are asked."""
    state, keeps_between = verdicts.state, verdicts.config.middle == "keep"
    if verdicts.config.mode == "flags":
        wanted_P = keeps_between | (state.flags_P & ~state.words.mask(verdicts.config.drop_flags) == 0)
    else:
        wanted_P = state.probability_P >= (verdicts.drop_below if keeps_between else verdicts.keep_from)
    rules = list(_rules(verdicts))
    number_P = sum((applies_P.astype(np.int64) for _, applies_P in rules), np.zeros(len(state), np.int64))
    undecided_P = ~state.by_people_P | ((state.rating_P > 2) & (state.rating_P < good_rating))
    # people's good ratings keep a clip before its flags are asked, but only after copies are dropped
    rated_good_P = state.by_people_P & (state.rating_P >= good_rating)
    found = []
    for name, applies_P in rules:
        only_P = applies_P & (number_P == 1)
        rated_P = only_P & (state.rating_P > 0)
        kept_without_P = only_P & wanted_P & undecided_P
        if name == "duplicate":
            kept_without_P |= applies_P & rated_good_P
        cost = HardRuleCost(
            rule=name,
            clips=int(applies_P.sum()),
            alone=int(kept_without_P.sum()),
            rated=int(rated_P.sum()),
            good=int((rated_P & (state.rating_P >= good_rating)).sum()),
        )
        found += [cost] if cost["clips"] else []
    capped_P = verdicts.outcome_P == Outcome.CHANNEL_CAP
    if capped_P.any():
        rated_P = capped_P & (state.rating_P > 0)
        clips, good = int(capped_P.sum()), int((rated_P & (state.rating_P >= good_rating)).sum())
        found.append(HardRuleCost(rule="channel cap", clips=clips, alone=clips, rated=int(rated_P.sum()), good=good))
    return found


def _rules(verdicts: Verdicts) -> Iterator[tuple[str, Bools]]:
    """Yield each hard rule but the cap, with the clips that it applies to."""
    hard, words = verdicts.hard, verdicts.state.words
    yield "duplicate", hard.copy_P
    for name in words.names:
        if name in verdicts.config.drop_flags:
            yield f"flag {name}", hard.dropping_P & words.mask([name]) != 0
    yield "usable share", hard.unusable_P
    yield "no score", hard.no_score_P
