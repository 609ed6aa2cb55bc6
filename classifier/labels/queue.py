"""The order in which clips are offered to labellers: a seeded draw over sources, flagged clips rare, copies last.

Every source (channel, or video) gives at most `max_per_source` clips, drawn by a seeded hash. Sources take turns, so
that the first hundred labels already span a hundred sources. Clips with a flag that drops them anyway are mixed in
sparsely (stream `flagged`), copies come after all others (stream `duplicate`), and the rest is stream `random`. The
order depends on the clips and the seed alone, and the blob is rewritten only when it changes.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple, TypedDict, get_args

from classifier.pool import Pool, load_pool
from pipeline.config import Config
from pipeline.job import Job
from pipeline.storage.arrow import pc
from pipeline.storage.damage import DamagedError
from pipeline.storage.json_blob import read_json
from pipeline.storage.store import Store
from pipeline.storage.takedown import repeat_after_takedown

QUEUE_KEY = "labels/queue.json"
_ADVICE = "Write it again with `lampworks run --select label_queue`."
_FIELDS = {"clip_id", "stream"}
Stream = Literal[
    "random", "flagged", "duplicate", "uncertain", "audit_high", "audit_low", "diverse", "uncovered", "shared",
    "repeat", "gold",
]  # fmt: skip
STREAMS: tuple[Stream, ...] = get_args(Stream)


class QueueItem(TypedDict):
    """A clip as the queue's blob lists it."""

    clip_id: str
    stream: Stream
    inclusion: float | None
    """Probability with which the stream drew the clip; None where it is unknown."""


class DrawnClip(NamedTuple):
    """A clip that was drawn from its source; they sort into the order in which sources take turns."""

    turn: int
    """How many clips of its source and stream come before it."""
    hash: int
    clip_id: str
    group: str


class QueuedClip(NamedTuple):
    """A clip in the queue."""

    stream: Stream
    clip_id: str
    group: str


@dataclass(frozen=True)
class QueueReport:
    """What the queue holds."""

    size: int
    """Clips in the queue."""
    strata: Mapping[str, int]
    """Clips per stream that has any."""
    sources: int
    """Sources that have a clip in the queue."""
    written: bool
    """Whether it differs from the one before."""


def write_queue(job: Job) -> QueueReport:
    """Write the labelling queue of the present clips to `labels/queue.json` and return what it holds."""
    store = job.store
    order = repeat_after_takedown(store, lambda: _order(load_pool(store, job.config)))
    data = _encoded(order, job.config)
    written = not store.exists(QUEUE_KEY) or store.read_blob(QUEUE_KEY) != data
    if written:
        store.write_blob(QUEUE_KEY, data)
    counts = Counter(clip.stream for clip in order)
    return QueueReport(
        size=len(order),
        strata={stream: counts[stream] for stream in STREAMS if counts[stream]},
        sources=len({clip.group for clip in order}),
        written=written,
    )


def queue_is_current(store: Store, config: Config) -> bool:
    """Tell whether there is a queue and it offers the present clips."""
    if not store.exists(QUEUE_KEY):
        return False
    return store.read_blob(QUEUE_KEY) == _encoded(_order(load_pool(store, config)), config)


def load_queue(store: Store, key: str = QUEUE_KEY) -> list[QueueItem]:
    """Return a queue in order; empty where none was written.

    Args:
        store: the store.
        key: of its blob; that of an audit has the same form.

    Raises:
        DamagedError: the file is not a queue; the next run writes it again.
    """
    if not store.exists(key):
        return []
    found = read_json(store, key, _ADVICE).get("clips")
    if not isinstance(found, list) or not all(isinstance(item, dict) and item.keys() >= _FIELDS for item in found):
        raise DamagedError(f"{store.root}/{key} is damaged: it lists no clips. {_ADVICE}")
    return [
        QueueItem(clip_id=item["clip_id"], stream=item["stream"], inclusion=item.get("inclusion")) for item in found
    ]


def _encoded(order: list[QueuedClip], config: Config) -> bytes:
    items = [QueueItem(clip_id=clip.clip_id, stream=clip.stream, inclusion=None) for clip in order]
    return json.dumps({"seed": config.labels.seed, "clips": items}, indent=0).encode()


def _order(pool: Pool) -> list[QueuedClip]:
    return list(islice(_interleaved(_draw(pool), pool.config.labels.flagged_share), pool.config.labels.queue_size))


def _draw(pool: Pool) -> dict[Stream, list[DrawnClip]]:
    """Return the drawn clips of each stream, sorted; memory grows with the sources, not with the clips."""
    labels = pool.config.labels
    table = pool.store.read("duplicates", ["clip_id"], ~pc.field("is_representative"))
    copies, dropping = set(table["clip_id"].to_pylist()), set(pool.config.decision.drop_flags)
    # one heap per stream and source keeps its smallest hashes (negated, because heapq pops the smallest)
    heaps: dict[tuple[Stream, str], list[tuple[int, str]]] = {}
    groups = {video_id: pool.group(video_id) for video_id in pool.videos}
    for _, clips in pool.by_batch(["flags"]):
        for row in clips.to_pylist():
            flagged = bool(dropping & set(row["flags"] or ()))
            stream: Stream = "duplicate" if row["clip_id"] in copies else "flagged" if flagged else "random"
            heap = heaps.setdefault((stream, groups[row["video_id"]]), [])
            heapq.heappush(heap, (-_hash(labels.seed, row["clip_id"]), row["clip_id"]))
            if len(heap) > labels.max_per_source:
                heapq.heappop(heap)
    drawn: dict[Stream, list[DrawnClip]] = {stream: [] for stream in STREAMS}
    for (stream, group), heap in heaps.items():
        for turn, (negated, clip_id) in enumerate(sorted(heap, reverse=True)):
            drawn[stream].append(DrawnClip(turn, -negated, clip_id, group))
    return {stream: sorted(clips) for stream, clips in drawn.items()}


def _interleaved(drawn: Mapping[Stream, list[DrawnClip]], flagged_share: float) -> Iterator[QueuedClip]:
    """Yield random clips with a share of flagged ones between them, then what is left of these, then copies."""
    flagged = iter(drawn["flagged"])
    owed = 0.0
    for clip in drawn["random"]:
        yield QueuedClip("random", clip.clip_id, clip.group)
        owed += flagged_share / (1 - flagged_share)
        while owed >= 1:
            owed -= 1
            yield from _queued("flagged", islice(flagged, 1))
    yield from _queued("flagged", flagged)
    yield from _queued("duplicate", drawn["duplicate"])


def _queued(stream: Stream, clips: Iterator[DrawnClip] | list[DrawnClip]) -> Iterator[QueuedClip]:
    return (QueuedClip(stream, clip.clip_id, clip.group) for clip in clips)


def _hash(seed: int, clip_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\n{clip_id}".encode()).digest()[:8], "big")
