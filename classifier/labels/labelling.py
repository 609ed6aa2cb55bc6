"""What the labelling page serves: clips, each person's queue and progress, and how far people agree.

Everything about the queue is answered from memory; the queue itself is the one that was there when the server started.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, TypedDict

from classifier.labels.agreement import Agreement, measure_agreement
from classifier.labels.annotators import Annotators
from classifier.labels.answers import Answers
from classifier.labels.byte_range import BlobPart
from classifier.labels.events import of_videos_taken_down
from classifier.labels.journal import Appended, Journal, PageEvent
from classifier.labels.own_queue import Offer, OwnQueue
from classifier.labels.queue import QUEUE_KEY, load_queue, queue_is_current, write_queue
from classifier.pool import load_pool
from pipeline.errors import StoreError, UserError
from pipeline.ids import short_hash
from pipeline.job import Job
from pipeline.label_events import fold, fold_repeats
from pipeline.label_pictures import latest_label_moment
from pipeline.storage.arrow import is_one_of
from pipeline.storage.store import Store

PAGE_CLIPS = 32
"""Clips in one page of the queue."""
_MOST_PAST = 200
"""Latest answers that a page can undo after it was loaded again."""
_MOST_PEOPLE = 200
_CLIP_COLUMNS = ["tar", "offset", "size", "sha256", "frames_offset", "frames_size", "start_ms", "end_ms"]


class ShownClip(Offer):
    """A clip as the page gets it."""

    start_ms: int
    end_ms: int
    title: str


class ClipPage(TypedDict):
    """A few clips of a person's queue."""

    clips: list[ShownClip]
    next: int | None
    """Where the next ones begin; None at the end."""


class Labelling:
    """The clips, queues and answers of one server."""

    def __init__(self, job: Job, names: Sequence[str], queue_key: str = QUEUE_KEY) -> None:
        """Open the journal and read a queue.

        Raises:
            UserError: a name cannot be used, or there are no clips to rate.
        """
        self.annotators = Annotators(names)
        store = job.store
        if queue_key == QUEUE_KEY and not queue_is_current(store, job.config):
            write_queue(job)
        if not store.exists(queue_key):
            raise UserError(f"{store.root} has no {queue_key} yet: `lampworks run` writes it once clips are decided")
        pool = load_pool(store, job.config)
        queue = load_queue(store, queue_key)
        rows = pool.scan(_CLIP_COLUMNS, clip_ids={item["clip_id"] for item in queue}).to_pylist()
        self._rows: dict[str, dict[str, Any]] = {row["clip_id"]: row for row in rows}
        if not self._rows:
            raise UserError(
                f"there are no clips to rate in {store.root}: "
                + (
                    "collect and cut some first (`lampworks run`)"
                    if queue_key == QUEUE_KEY
                    else f"{queue_key} lists none"
                )
            )
        self._titles = _titles(store, {str(row["video_id"]) for row in rows})
        self._queue = [item for item in queue if item["clip_id"] in self._rows]
        self._config, self.store, self.queue_key = job.config.labels, store, queue_key
        self.root = short_hash(store.root, 8)
        self.journal = Journal(job.home.journal, after=latest_label_moment(store))
        self.answers = Answers(store, self.journal)
        self._queues: dict[str, OwnQueue] = {}
        self._agreement: tuple[int, Agreement] | None = None
        for name in self.annotators.names:
            self.own_queue(name)

    def state(self, who: str) -> dict[str, object]:
        """Return a person's progress, their latest answers, oldest first (0 is a skip), and their next clips."""
        with self.answers.lock:
            self.answers.refresh()
            queue = self.own_queue(who)
            mine, again = self.answers.of(who), self.answers.repeats_of(who)
            done, total = queue.done(self.answers)
            counts = Counter([*mine.values(), *again.values()])
            past = [[self._shown(queue.offer(clip_id)), mine[clip_id]] for clip_id in _latest(mine, self._rows)]
            return {
                "root": self.root,
                "annotator": who,
                "annotators": self.annotators.names,
                "audit": self.queue_key != QUEUE_KEY,
                "done": done,
                "total": total,
                "counts": [counts[rating] for rating in range(6)],
                "past": past,
                **self.clips(who, 0),
            }

    def clips(self, who: str, after: int, count: int = PAGE_CLIPS) -> ClipPage:
        """Return the next open clips of a person's queue from a place in it."""
        with self.answers.lock:
            self.answers.refresh()
            page = self.own_queue(who).page(after, count, self.answers)
        return {"clips": [self._shown(offer) for offer in page.offers], "next": page.next}

    def own_queue(self, who: str) -> OwnQueue:
        """Return a person's queue; ValueError where too many people were here already."""
        if who not in self._queues:
            if len(self._queues) >= _MOST_PEOPLE:
                raise ValueError(f"more than {_MOST_PEOPLE} people have rated here: start `lampworks label` again")
            self._queues[who] = OwnQueue(self._queue, who, self.annotators.names, self._config)
        return self._queues[who]

    def append(self, events: Sequence[PageEvent], who: str) -> Appended:
        """Write events to the journal; return once they are on disk. Those of a video taken down are refused."""
        try:
            gone = of_videos_taken_down(self.store, {event["clip_id"] for event in events})
        except (OSError, StoreError):  # a store that is away keeps no rating from the disk; `sync_journal` asks again
            gone = set()
        appended = self.journal.append([event for event in events if event["clip_id"] not in gone], who)
        self.answers.refresh()
        refused = {event["event_id"]: "the clip's video was taken down" for event in events if event["clip_id"] in gone}
        return Appended(appended.saved, {**appended.refused, **refused})

    def agreement(self) -> Agreement:
        """Return how far people agree, computed anew where there are new answers."""
        with self.answers.lock:
            self.answers.refresh()
            events = list(self.answers.events)
        if self._agreement is None or self._agreement[0] != len(events):
            self._agreement = (len(events), measure_agreement(fold(events), fold_repeats(events)))
        return self._agreement[1]

    def blob(self, clip_id: str, offset: str, size: str, media_type: str) -> BlobPart | None:
        """Return where the bytes of a clip lie, by the names of two columns; None for a clip that is not served."""
        row = self._rows.get(clip_id)
        if row is None:
            return None
        return BlobPart(row["tar"], row[offset], row[size], media_type, tag=row["sha256"])

    def _shown(self, offer: Offer) -> ShownClip:
        row = self._rows[offer["clip_id"]]
        return {
            **offer,
            "start_ms": row["start_ms"],
            "end_ms": row["end_ms"],
            "title": self._titles[row["video_id"]],
        }


def _latest(answered: dict[str, int], served: dict[str, dict[str, Any]]) -> list[str]:
    known: list[str] = []
    for clip_id in reversed(answered):
        if len(known) == _MOST_PAST:
            break
        if clip_id in served:
            known.append(clip_id)
    return known[::-1]


def _titles(store: Store, video_ids: Collection[str]) -> dict[str, str]:
    """Return the titles of some videos, as far as the page shows them."""
    found = store.read("videos", ["video_id", "title"], is_one_of("video_id", sorted(video_ids)))
    return {row["video_id"]: (row["title"] or "")[:200] for row in found.to_pylist()}
