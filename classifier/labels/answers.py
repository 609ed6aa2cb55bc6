"""What everyone has answered so far, kept in memory while the page is served.

It begins with the labels of the store and of the journal, and goes on with what is appended to the journal, by this
server or another. So an answer about the queue reads no table.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from classifier.labels.journal import Journal
from pipeline.errors import StoreError
from pipeline.label_events import GOLD, STAND_IN
from pipeline.label_pictures import of_earlier_pictures
from pipeline.storage.store import Store

_LOOK_S = 5.0
"""Seconds between two looks at whether the tables of the store have changed."""
_AGREED = 1
"""Ratings of a clip that differ by so much at most agree."""

Answered = dict[str, int]
"""Rating 1..5 (0: skipped) by clip, in the order in which the answers were given."""


class Answers:
    """The present answers of all annotators; use it under its `lock`."""

    def __init__(self, store: Store, journal: Journal) -> None:
        """Read the labels of a store and of a journal."""
        self.lock = threading.RLock()
        self.events: list[Mapping[str, Any]] = []
        """All label events of clips, as rows of `labels`, by time."""
        self._store, self._journal = store, journal
        self._seq = 0
        self._load()

    def refresh(self) -> None:
        """Take in what was appended to the journal since, and to the store."""
        with self.lock:
            if self._store_has_changed():
                self._load()
                return
            new, self._seq = self._journal.events_after(self._seq)
            self._take_in(new)

    def of(self, annotator: str) -> Answered:
        """Return a person's answers, repeats left out."""
        return self._answers.get(annotator, {})

    def repeats_of(self, annotator: str) -> Answered:
        """Return a person's answers to clips that were shown to them again."""
        return self._repeats.get(annotator, {})

    def by_others(self, clip_id: str, annotator: str) -> set[str]:
        """Return the people who have answered a clip, this one left out."""
        return self._by_clip.get(clip_id, set()) - {annotator, STAND_IN, GOLD}

    def gold_for(self, annotator: str) -> Iterable[str]:
        """Yield clips with a reference rating, or rated alike by two others, that a person has not answered."""
        mine, reference = self.of(annotator), self.of(GOLD)
        for clip_id in self._by_clip:
            others = self.by_others(clip_id, annotator)
            ratings = [rating for name in others if (rating := self._answers[name][clip_id])]
            agreed = len(ratings) > 1 and max(ratings) - min(ratings) <= _AGREED
            if clip_id not in mine and (agreed or reference.get(clip_id)):
                yield clip_id

    def _store_has_changed(self) -> bool:
        try:
            return time.monotonic() >= self._look_again and self._versions() != self._read_versions
        except (OSError, StoreError):  # a store that is away for a while: people go on rating, into the journal
            return False

    def _versions(self) -> tuple[int, int]:
        self._look_again = time.monotonic() + _LOOK_S
        return self._store.version("labels"), self._store.version("replaced")

    def _load(self) -> None:
        with self.lock:
            self._read_versions = self._versions()
            self._answers: dict[str, Answered] = {}
            self._repeats: dict[str, Answered] = {}
            self._by_clip: dict[str, set[str]] = {}
            self.events = []
            written, self._seq = self._journal.events_after(0)
            by_id = {event["event_id"]: event for event in [*self._store.read("labels").to_pylist(), *written]}
            # a clip that shows another picture since is offered again
            earlier = of_earlier_pictures(self._store, by_id.values())
            counted = [event for event in by_id.values() if event["event_id"] not in earlier]
            self._seen = set(by_id)
            self._add(sorted(counted, key=lambda event: (event["labelled_at"], event["event_id"])))

    def _take_in(self, events: list[dict[str, Any]]) -> None:
        self._add([event for event in events if event["event_id"] not in self._seen])
        self._seen.update(event["event_id"] for event in events)

    def _add(self, events: Iterable[Mapping[str, Any]]) -> None:
        for event in events:
            clip_id, annotator = event["clip_id"], event["annotator"]
            if not clip_id:
                continue
            self.events.append(event)
            kept = self._repeats if event.get("repeat") else self._answers
            answered = kept.setdefault(annotator, {})
            answered.pop(clip_id, None)
            if event["kind"] != "undo":
                # a skip is an answer too: the clip is not offered again
                answered[clip_id] = int(event["rating"] or 0)
            if kept is self._answers:
                people = self._by_clip.setdefault(clip_id, set())
                (people.discard if event["kind"] == "undo" else people.add)(annotator)
