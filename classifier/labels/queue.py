"""The order in which clips are offered to labellers: a seeded draw over sources, with rubbish and copies last.

Every source (channel, or video) gives at most `max_per_source` clips, drawn by a seeded hash, and sources take
turns, so that the first hundred labels already span a hundred sources. Clips with a flag that drops them anyway
come in sparsely (stream `flagged`), copies after everything else (stream `duplicate`); the rest is stream `random`.
The order is a function of the clips and the seed alone, and the blob is rewritten only when it changes.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from classifier.pool import load_pool
from pipeline.config import Config
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store
from pipeline.storage.takedown import repeat_after_takedown

QUEUE_KEY = "labels/queue.json"
STREAMS = ("random", "flagged", "duplicate")


@dataclass(frozen=True)
class QueueReport:
    """What the queue holds."""

    size: int
    """Clips in the queue."""
    strata: Mapping[str, int]
    """Clips per stream."""
    sources: int
    """Sources that it draws from."""
    written: bool
    """Whether it differs from the one before."""


def label_queue(store: Store, config: Config) -> QueueReport:
    """Write the labelling queue of the current clips to `labels/queue.json` and return what it holds."""
    order = repeat_after_takedown(store, lambda: _order(store, config))
    data = _encoded(order, config)
    written = not store.exists(QUEUE_KEY) or store.read_blob(QUEUE_KEY) != data
    if written:
        store.write_blob(QUEUE_KEY, data)
    counts = Counter(stream for stream, _, _ in order)
    return QueueReport(
        size=len(order),
        strata={stream: counts[stream] for stream in STREAMS},
        sources=len({group for _, _, group in order}),
        written=written,
    )


def queue_is_current(store: Store, config: Config) -> bool:
    """Tell whether a queue is there that offers the clips of today."""
    return store.exists(QUEUE_KEY) and store.read_blob(QUEUE_KEY) == _encoded(_order(store, config), config)


def _order(store: Store, config: Config) -> list[tuple[str, str, str]]:
    return _interleaved(_draw(store, config), config)[: config.labels.queue_size]


def _encoded(order: list[tuple[str, str, str]], config: Config) -> bytes:
    items = [{"clip_id": clip_id, "stream": stream} for stream, clip_id, _ in order]
    return json.dumps({"seed": config.labels.seed, "clips": items}, indent=0).encode()


def load_queue(store: Store) -> list[dict[str, str]]:
    """Return the queue's items (clip_id, stream) in order; none where no queue was written."""
    if not store.exists(QUEUE_KEY):
        return []
    return list(json.loads(store.read_blob(QUEUE_KEY))["clips"])


def _draw(store: Store, config: Config) -> dict[str, list[tuple[int, int, str, str]]]:
    """Return per stream the drawn clips as (turn, hash, clip_id, group); memory is bounded by sources."""
    pool = load_pool(store, config)
    copies_where = ~pc.field("is_representative")
    copies = set(store.read("duplicates", ["clip_id"], copies_where)["clip_id"].to_pylist())
    dropping = set(config.decision.drop_flags)
    # a heap per source and stream keeps its smallest hashes: negated, because heapq pops the smallest
    heaps: dict[tuple[str, str], list[tuple[int, str]]] = {}
    groups = {video_id: pool.group(video_id) for video_id in pool.videos}
    for _, clips in pool.by_batch(["flags"]):
        for row in clips.to_pylist():
            flagged = bool(dropping & set(row["flags"] or ()))
            stream = "duplicate" if row["clip_id"] in copies else "flagged" if flagged else "random"
            heap = heaps.setdefault((stream, groups[row["video_id"]]), [])
            heapq.heappush(heap, (-_hash(config.labels.seed, row["clip_id"]), row["clip_id"]))
            if len(heap) > config.labels.max_per_source:
                heapq.heappop(heap)
    drawn: dict[str, list[tuple[int, int, str, str]]] = {stream: [] for stream in STREAMS}
    for (stream, group), heap in heaps.items():
        for turn, (negative, clip_id) in enumerate(sorted(heap, reverse=True)):
            drawn[stream].append((turn, -negative, clip_id, group))
    return {stream: sorted(clips) for stream, clips in drawn.items()}


def _interleaved(drawn: Mapping[str, list[tuple[int, int, str, str]]], config: Config) -> list[tuple[str, str, str]]:
    flagged = iter(drawn["flagged"])
    order: list[tuple[str, str, str]] = []
    share, owed = config.labels.flagged_share, 0.0
    for _, _, clip_id, group in drawn["random"]:
        order.append(("random", clip_id, group))
        owed += share / (1 - share)
        while owed >= 1:
            owed -= 1
            order.extend(_next(flagged))
    # without enough others, flagged clips may fill the end, before copies
    order.extend(("flagged", clip_id, group) for _, _, clip_id, group in flagged)
    order.extend(("duplicate", clip_id, group) for _, _, clip_id, group in drawn["duplicate"])
    return order


def _next(flagged: Iterator[tuple[int, int, str, str]]) -> Iterator[tuple[str, str, str]]:
    for _, _, clip_id, group in flagged:
        yield "flagged", clip_id, group
        return


def _hash(seed: int, clip_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\n{clip_id}".encode()).digest()[:8], "big")
