"""One person's own queue: their part of the queue, clips that a second person rates, repeats, and gold clips.

Several people divide a queue by a seeded hash of each clip. A share of it is rated by two: by its owner, and by another
in stream `shared`. Whoever is through with their part goes on with what the others have left, from its end. A clip that
another of them has answered is not offered again. Between these clips come, unannounced, clips that the person rated
some time ago (stream `repeat`: for agreement with oneself, the first rating stays) and clips with a reference rating,
or on which others agree (`gold`).
The same answers give the same queue, so that a page that is loaded again goes on where it stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, TypedDict

from classifier.labels.answers import Answers
from classifier.labels.streams import QueueItem, Stream
from pipeline.config import LabelConfig

_GAP, _WITHIN = 40, 60
"""Clips between a rating and its repeat: at least, and how many more at most."""


class Offer(TypedDict):
    """A clip that a person is asked to rate."""

    clip_id: str
    stream: Stream
    inclusion: float | None
    repeat: bool


class OfferPage(NamedTuple):
    """A few offers, and where the next ones begin."""

    offers: list[Offer]
    next: int | None
    """None at the end of the queue."""


class OwnQueue:
    """The order in which clips are offered to one person."""

    def __init__(
        self, queue: Sequence[QueueItem], who: str, names: Sequence[str], labels: LabelConfig, *, extras: bool = True
    ) -> None:
        """Order a queue for a person.

        Args:
            queue: the queue of all.
            who: the person.
            names: the people who divide it; one name, or none of them `who`: nobody divides it.
            labels: shares and seed.
            extras: whether repeats and gold clips are mixed in.
        """
        self.who = who
        self._labels, self._extras = labels, extras
        self._divides = len(names) > 1 and who in names
        self._others = [name for name in names if name != who] if self._divides else []
        own: list[QueueItem] = []
        others: list[QueueItem] = []
        for item in queue:
            first, second = self._raters(item["clip_id"], names) if self._divides else (who, None)
            if first == who:
                own.append(item)
            elif second == who:
                own.append({**item, "stream": "shared", "inclusion": labels.shared_share})
            else:
                others.append(item)
        self.size = len(own)
        """Clips of the person's own part."""
        self._order = own + others[::-1]
        self._shared = {item["clip_id"] for item in own if self._divides and self._raters(item["clip_id"], names)[1]}
        self._place = {item["clip_id"]: index for index, item in enumerate(self._order)}

    def page(self, after: int, count: int, answers: Answers) -> OfferPage:
        """Return the next clips that are open, from a place in the queue (0: its start).

        Memory and time do not grow with the queue, but with the clips that are answered behind the place.
        """
        offers: list[Offer] = []
        given: set[str] = set()
        mine = answers.of(self.who)
        gold: list[str] | None = None
        for index in range(after, len(self._order)):
            if len(offers) >= count:
                return OfferPage(offers, index)
            item = self._order[index]
            clip_id = item["clip_id"]
            if clip_id in mine or clip_id in given or self._taken(clip_id, answers):
                continue
            draw = self._draw("extra", clip_id) if self._extras else 1.0
            if draw < self._labels.repeat_share:
                again = self._to_repeat(index, answers)
                if again is not None and again not in given:
                    offers.append({"clip_id": again, "stream": "repeat", "inclusion": None, "repeat": True})
                    given.add(again)
            elif draw < self._labels.repeat_share + self._labels.gold_share:
                gold = sorted(answers.gold_for(self.who)) if gold is None else gold
                known = [one for one in gold if one not in given and one != clip_id and one in self._place]
                if known:
                    chosen = known[int(self._draw("gold", clip_id) * len(known))]
                    offers.append({"clip_id": chosen, "stream": "gold", "inclusion": None, "repeat": False})
                    given.add(chosen)
            offers.append({**item, "repeat": False})
        return OfferPage(offers, None)

    def offer(self, clip_id: str) -> Offer:
        """Return a clip of the queue as it is offered."""
        return {**self._order[self._place[clip_id]], "repeat": False}

    def done(self, answers: Answers) -> tuple[int, int]:
        """Return how many clips the person has answered, and of how many."""
        mine = answers.of(self.who)
        answered = [clip_id for clip_id in mine if clip_id in self._place]
        extra = len(answers.repeats_of(self.who))
        beyond = sum(self._place[clip_id] >= self.size for clip_id in answered)
        taken = {clip_id for name in self._others for clip_id in answers.of(name)} - mine.keys() - self._shared
        left = self.size - sum(self._place.get(clip_id, self.size) < self.size for clip_id in taken)
        return len(answered) + extra, left + beyond + extra

    def _taken(self, clip_id: str, answers: Answers) -> bool:
        """Return whether another of those who divide the queue has answered a clip that one alone rates."""
        return clip_id not in self._shared and any(clip_id in answers.of(name) for name in self._others)

    def _to_repeat(self, index: int, answers: Answers) -> str | None:
        """Return a clip that the person rated some time before a place of the queue, and did not see again."""
        mine, again = answers.of(self.who), answers.repeats_of(self.who)
        start = index - _GAP - int(self._draw("gap", self._order[index]["clip_id"]) * _WITHIN)
        earlier = (self._order[at]["clip_id"] for at in range(start, max(-1, start - _WITHIN), -1) if at >= 0)
        return next((clip_id for clip_id in earlier if mine.get(clip_id) and clip_id not in again), None)

    def _raters(self, clip_id: str, names: Sequence[str]) -> tuple[str, str | None]:
        """Return who rates a clip, and who else does if it is one of the share that two people rate."""
        ordered = sorted(names)
        first = int(_draw(self._labels.seed, "owner", clip_id) * len(ordered))
        if _draw(self._labels.seed, "shared", clip_id) >= self._labels.shared_share:
            return ordered[first], None
        step = 1 + int(_draw(self._labels.seed, "second", clip_id) * (len(ordered) - 1))
        return ordered[first], ordered[(first + step) % len(ordered)]

    def _draw(self, what: str, clip_id: str) -> float:
        return _draw(self._labels.seed, f"{what}\n{self.who}", clip_id)


def _draw(seed: int, what: str, clip_id: str) -> float:
    """Return a number from 0 to below 1 that the arguments alone decide."""
    digest = hashlib.sha256(f"{seed}\n{what}\n{clip_id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)
