"""The rule that decides on one clip: keep, drop or review, with the reason in words.

Genie App. B.1 decides by "model prediction and confidence". Here that is three bands of the calibrated probability:
keep from a threshold whose precision is certified on out-of-fold scores, drop below another one, and between them
what `decision.middle` says. The first of these that applies decides:

1. a person rated the clip 1 or 2: drop
2. it is a copy of another clip: drop
3. a person rated it good (`classifier.good_rating` or more): keep, whatever flags and score say
4. it has a flag that drops: drop
5. its frames could not be read: drop
6. its probability

The embedded source's stand-in labeller is not a person: the classifier learns from its ratings, but they decide
nothing. With `decision.mode = flags` the technical flags alone decide (after 1 to 3), and every reason says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pipeline.config import DecisionConfig
from pipeline.label_events import Labels

Decision = Literal["keep", "drop", "review"]
DECISIONS: tuple[Decision, ...] = ("keep", "drop", "review")


class Verdict(NamedTuple):
    """What was decided on a clip, and why."""

    decision: Decision
    reason: str
    """For people, with the numbers of this clip."""
    kind: str
    """The reason without this clip's numbers, to count by."""


@dataclass(frozen=True)
class Rule:
    """Everything that the decision on a clip depends on, apart from the clip itself."""

    config: DecisionConfig
    good_rating: int
    keep_from: float
    """Probability from which a clip is kept."""
    drop_below: float
    """Probability below which a clip is dropped; at most `keep_from`."""
    copies: Mapping[str, str]
    """Representative by clip, of clips that are copies."""
    labels: Labels

    columns = ("flags",)
    """Columns of `clips` that the rule reads."""

    def verdict(self, clip: Mapping[str, Any], score: Mapping[str, Any] | None) -> Verdict:
        """Return the verdict on a clip: its row of `clips` with `columns`, and its row of `scores`."""
        return self.decide(clip["clip_id"], list(clip["flags"] or ()), score)

    def decide(self, clip_id: str, flags: Sequence[str], score: Mapping[str, Any] | None) -> Verdict:
        """Return the verdict on a clip.

        Args:
            clip_id: the clip.
            flags: its technical flags.
            score: its row of `scores`; None in mode `flags`.
        """
        rating = self.labels.ratings[clip_id] if clip_id in self.labels.by_people else None
        if rating is not None and rating <= 2:
            return Verdict("drop", f"rated {rating}", f"rated {rating}")
        if clip_id in self.copies:
            return Verdict("drop", f"duplicate of {self.copies[clip_id]}", "duplicate")
        if rating is not None and rating >= self.good_rating:
            return Verdict("keep", f"rated {rating}", f"rated {rating}")
        dropping = [flag for flag in flags if flag in self.config.drop_flags]
        if self.config.mode == "flags":
            return self._by_flags(flags, dropping)
        if dropping:
            return Verdict("drop", f"flag: {', '.join(dropping)}", f"flag {dropping[0]}")
        assert score is not None
        probability = score["probability"]
        if probability is None:
            return Verdict("drop", f"no score: {score['error_class']}", "no score")
        return self._by_score(float(probability))

    def _by_flags(self, flags: Sequence[str], dropping: Sequence[str]) -> Verdict:
        if dropping:
            return Verdict("drop", f"flags only: {', '.join(dropping)}", f"flags only, {dropping[0]}")
        if flags:
            return Verdict(self.config.middle, f"flags only: {', '.join(flags)}", f"flags only, {flags[0]}")
        return Verdict("keep", "flags only: none", "flags only, none")

    def _by_score(self, probability: float) -> Verdict:
        shown, keep_from, drop_below = (
            _three_digits(probability),
            _three_digits(self.keep_from),
            _three_digits(self.drop_below),
        )
        if probability >= self.keep_from:
            return Verdict("keep", f"score {shown} >= {keep_from}", "score")
        if probability < self.drop_below:
            return Verdict("drop", f"score {shown} < {drop_below}", "score")
        return Verdict(self.config.middle, f"score {shown} between {drop_below} and {keep_from}", "score between")


def _three_digits(value: float) -> str:
    # rounded down, so that 0.7996 is not shown as 0.800, which a threshold of 0.800 would keep
    return f"{int(value * 1e3 + 1e-9) / 1e3:.3f}"
