"""Which candidate is published, and whether it takes the place of the classifier that is published now.

The rules, in words:

1. The candidate with the best lower bound of the out-of-fold AUC is published. Level ones (to 0.001) go to the cheaper.
   A network that did not lead after one repeat is not among them.
2. Where a side has fewer than 20 clips of 5 sources, the figures are too few to tell. They are printed and choose
   nothing: `measurements` is published, the cheapest candidate and the one that carries best to other games.
3. A new classifier replaces the one before, unless the one before is better on clips whose sources neither had learned
   from when it scored them, by a paired interval that excludes 0. Where the settings, the kind of clips or the clips
   learned from are not those of today, the one before is no match and is replaced.

Dimension keys: N clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

from classifier.training.arrays import Floats
from classifier.training.auc import Sides, auc_metrics, paired_difference
from classifier.training.compare import Compared, Comparison
from classifier.training.metrics import AucMetrics, PairedMetrics, PromotionMetrics, auc_text
from pipeline.config.curate import Candidate


class Choice(NamedTuple):
    """The candidate that is published."""

    name: Candidate
    why: str


def best_candidate(comparison: Comparison) -> Choice:
    """Return the candidate that evidence promotes, with the reason in a sentence."""
    there = comparison.candidates
    headline = there[0].auc
    assert headline is not None
    if headline["few"]:
        chosen = next((one for one in there if one.name == "measurements"), there[0])
        why = (
            f"too few to tell candidates apart ({_sides_text(headline)}; 20 clips of 5 sources on each side are "
            f"needed): `{chosen.name}` is published, the cheapest that could be compared"
        )
        return Choice(cast(Candidate, chosen.name), why)
    # the cheapest first, so that a level one that costs more does not replace it
    best = max((one for one in there if not one.behind), key=lambda one: (_lower(one), -there.index(one)))
    return Choice(cast(Candidate, best.name), _why(best, there, comparison))


def beats_references(comparison: Comparison, name: str) -> bool | None:
    """Tell whether a candidate's AUC is above that of every reference beyond chance; None where there are too few."""
    found = [against(comparison, name, one.name) for one in comparison.references]
    if any(pair is None or pair["few"] or pair["interval"] is None for pair in found):
        return None
    return all(pair is not None and pair["interval"] is not None and pair["interval"][0] > 0 for pair in found)


def against(comparison: Comparison, name: str, other: str) -> PairedMetrics | None:
    """Return the AUC of one candidate less that of another, on the same clips and the same draws of sources."""
    a, b = comparison.of(name).scores_RN, comparison.of(other).scores_RN
    if not len(a) or not len(b):
        return None
    return paired_difference(a, b, comparison.sides, comparison.examples.groups)


def contest(
    champion: str, champion_N: Floats, challenger_N: Floats, sides: Sides, groups: Sequence[str]
) -> PromotionMetrics:
    """Return who wins on clips whose sources neither had learned from when it scored them.

    Args:
        champion: id of the classifier that is published now.
        champion_N: its scores.
        challenger_N: scores of the new one.
        sides: which of the clips are good, and which bad.
        groups: source of each clip.
    """
    difference = paired_difference(challenger_N, champion_N, sides, groups)
    old, new = (auc_metrics(score_N, sides, groups) for score_N in (champion_N, challenger_N))
    found: PromotionMetrics = {
        "champion": champion,
        "replaced": True,
        "why": "",
        "champion_auc": old,
        "challenger_auc": new,
        "difference": difference,
    }
    if difference is None or difference["few"] or difference["interval"] is None:
        found["why"] = (
            f"too few clips that neither learned from to compare it with {champion} ({_sides_text(new)}): the new "
            "one is published, because it learned from the labels of today"
        )
        return found
    low, high = difference["interval"]
    figures = f"{auc_text(new)} against {auc_text(old)}, difference {difference['difference']:+.3f} "
    figures += f"({low:+.3f} to {high:+.3f})"
    if high < 0:
        found["replaced"] = False
        found["why"] = f"{champion} stays published: it is better than the new one beyond chance: {figures}"
    else:
        found["why"] = f"replaces {champion}, which is not better beyond chance: {figures}"
    return found


def no_contest(champion: str | None, why: str) -> PromotionMetrics:
    """Return that the new classifier is published without a comparison."""
    return {
        "champion": champion,
        "replaced": True,
        "why": why,
        "champion_auc": None,
        "challenger_auc": None,
        "difference": None,
    }


def _lower(one: Compared) -> float:
    return -1.0 if one.lower is None else round(one.lower, 3)


def _why(best: Compared, there: Sequence[Compared], comparison: Comparison) -> str:
    assert best.auc is not None
    others = [one for one in there if one is not best]
    text = f"`{best.name}` has the best lower bound of the out-of-fold AUC: {auc_text(best.auc)}"
    if not others:
        return f"`{best.name}` is the only candidate that could be compared: AUC {auc_text(best.auc)}"
    second = max(others, key=_lower)
    if _lower(second) == _lower(best):
        text += f", level with `{second.name}`, which costs more"
    pair = against(comparison, best.name, second.name)
    if pair is None or pair["interval"] is None:
        return text
    low, high = pair["interval"]
    verdict = "beats" if low > 0 else "is level with"
    return f"{text}; it {verdict} `{second.name}` (difference {pair['difference']:+.3f}, {low:+.3f} to {high:+.3f})"


def _sides_text(found: AucMetrics) -> str:
    return (
        f"{found['good']} good clips of {found['good_sources']} sources and {found['bad']} bad ones of "
        f"{found['bad_sources']}"
    )
