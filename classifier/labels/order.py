"""Put drawn clips, and those that a model chooses, into one order.

The draw comes first: a model chooses from the clips that the stream `random` leaves, so that these stay a plain draw.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from classifier.labels.by_model import (
    clips_near_situations,
    diverse_clips,
    has_embeddings,
    prediction_by_clip,
    uncovered_clips,
)
from classifier.labels.by_score import Chosen, choose_by_score, keep_threshold
from classifier.labels.clip_draw import (
    ClipParts,
    Counts,
    Drawn,
    Kind,
    Sources,
    count_clips,
    draw_clips,
    sources_of,
    texts,
)
from classifier.labels.sampling import quotas
from classifier.labels.streams import ACTIVE, QueueItem, Stream, active_shares
from classifier.pool import Pool
from pipeline.config import Config


@dataclass(frozen=True)
class BaseDraw:
    """What follows from the clips and the seed alone."""

    sources: Sources
    counts: Counts
    drawn: Mapping[Kind, Drawn]

    def fingerprint(self, config: Config) -> str:
        """Return a hash of it and of the settings."""
        content = {kind: drawn.clip_ids for kind, drawn in self.drawn.items()}
        labels = config.labels
        settings = [labels.queue_size, labels.max_per_source, labels.flagged_share, active_shares(labels)]
        return hashlib.sha256(json.dumps([settings, content]).encode()).hexdigest()


def base_draw(pool: Pool) -> BaseDraw:
    """Return the draw of a whole queue of each kind: clips to judge, flagged ones, copies."""
    labels, sources = pool.config.labels, sources_of(pool)
    parts = ClipParts(pool, sources)
    counts = count_clips(parts, len(sources.names))
    total: dict[Kind, int] = {
        kind: counts.total(kind, labels.max_per_source) for kind in ("random", "flagged", "duplicate")
    }
    # where not all fit, flagged ones get their share; copies get what is left
    size = labels.queue_size
    flagged = min(total["flagged"], max(round(labels.flagged_share * size), size - total["random"]))
    random = min(total["random"], size - flagged)
    wanted: dict[Kind, int] = {
        "random": random, "flagged": flagged, "duplicate": min(total["duplicate"], size - random - flagged)
    }  # fmt: skip
    return BaseDraw(sources, counts, draw_clips(parts, sources, counts, wanted, labels.seed, labels.max_per_source))


class Order(NamedTuple):
    """The queue in order."""

    items: list[QueueItem]
    missing: dict[str, str]
    """Reason by stream of those that have a share in the configuration and no clip."""


class Models(NamedTuple):
    """What the choices of models go by."""

    threshold: float | None
    """Probability from which clips are kept; None without scores."""
    psnr: Mapping[str, float]
    """Next-frame PSNR by clip."""
    embeddings: bool
    near: Sequence[str]
    """Clips that look like what a world model could only guess in games."""

    def lack(self, stream: Stream) -> str:
        """Return what a stream lacks; empty where it lacks nothing."""
        if stream == "diverse":
            return "" if self.embeddings else "no clip has an embedding of the configured network"
        if stream == "uncovered":
            found = self.psnr or self.near
            return "" if found else "no evaluation of a world model says how well it predicts each clip"
        return "no clip is decided by its score yet" if self.threshold is None else ""


def order_clips(pool: Pool, base: BaseDraw, rated: Collection[str]) -> Order:
    """Return the queue.

    Args:
        pool: the clips.
        base: their draw.
        rated: clips that no model chooses, because they are rated.
    """
    labels, judged = pool.config.labels, base.drawn["random"]
    models = Models(
        keep_threshold(pool),
        prediction_by_clip(pool.store),
        has_embeddings(pool),
        near=clips_near_situations(pool.store),
    )
    shares = active_shares(labels)
    unrated = sum(clip_id not in rated for clip_id in judged.clip_ids)
    wanted = {stream: 0 if models.lack(stream) else int(share * unrated) for stream, share in shares.items()}
    # the choices of models are made from what `random` leaves, so that its clips stay a plain draw
    drawn = _first(base, "random", len(judged.clip_ids) - sum(wanted.values()), labels.max_per_source)
    chosen = _choices(pool, base, models, wanted, {*rated, *drawn})
    used = {*drawn, *(clip_id for one in chosen.values() for clip_id in one.clip_ids)}
    rest = dict.fromkeys(clip_id for clip_id in judged.clip_ids if clip_id not in used)
    flagged, copies = (
        _items(kind, _first(base, kind, len(base.drawn[kind].clip_ids), labels.max_per_source))
        for kind in ("flagged", "duplicate")
    )
    streams: dict[Stream, list[QueueItem]] = {"random": _items("random", drawn), "flagged": flagged}
    streams.update(
        (stream, _items(stream, dict.fromkeys(one.clip_ids, one.inclusion))) for stream, one in chosen.items()
    )
    items = list(_interleaved(streams, {"flagged": labels.flagged_share, **shares}, _items("random", rest)))
    missing: dict[str, str] = {
        stream: models.lack(stream) or "all of its clips are rated or in another stream"
        for stream, share in shares.items()
        if share and stream not in chosen
    }
    return Order([*items, *copies][: labels.queue_size], missing)


def _choices(
    pool: Pool, base: BaseDraw, models: Models, wanted: Mapping[Stream, int], taken: set[str]
) -> dict[Stream, Chosen]:
    """Return the clips that models choose, each in one stream; `taken` ones are in none."""
    found: dict[Stream, Chosen] = {}
    if models.threshold is not None:
        found = choose_by_score(pool, base.sources, models.threshold, wanted, taken)
        taken = taken.union(*(one.clip_ids for one in found.values()))
    if wanted["diverse"]:
        left = [clip_id for clip_id in base.drawn["random"].clip_ids if clip_id not in taken]
        found["diverse"] = Chosen(diverse_clips(pool, left, wanted["diverse"]), None)
        taken = taken.union(found["diverse"].clip_ids)
    if wanted["uncovered"]:
        found["uncovered"] = Chosen(uncovered_clips(models.psnr, models.near, taken, wanted["uncovered"]), None)
    return _still_offered(pool, found)


def _items(stream: Stream, inclusion: Mapping[str, float | None]) -> list[QueueItem]:
    return [QueueItem(clip_id=clip_id, stream=stream, inclusion=chance) for clip_id, chance in inclusion.items()]


def _first(base: BaseDraw, kind: Kind, count: int, most: int) -> dict[str, float | None]:
    """Return the first clips of a draw, in order, each with the probability that a draw of as many holds it."""
    drawn = base.drawn[kind]
    inclusion_S = quotas(base.counts.size_S[kind], base.sources.hash_S, count, most).inclusion_S
    return dict(zip(drawn.clip_ids[:count], inclusion_S[drawn.source_N[:count]].tolist(), strict=True))


def _still_offered(pool: Pool, found: Mapping[Stream, Chosen]) -> dict[Stream, Chosen]:
    """Return the choices of models, in the order of ACTIVE, without clips that are gone, flagged or copies by now."""
    there = _offered(pool, {clip_id for one in found.values() for clip_id in one.clip_ids})
    kept = {
        stream: Chosen([clip_id for clip_id in found[stream].clip_ids if clip_id in there], found[stream].inclusion)
        for stream in ACTIVE
        if stream in found
    }
    return {stream: one for stream, one in kept.items() if one.clip_ids}


def _offered(pool: Pool, clip_ids: set[str]) -> set[str]:
    """Return those clips that still count, and that no flag drops and no copy repeats by now."""
    if not clip_ids:
        return set()
    table = pool.scan(["flags", "batch"], clip_ids=clip_ids)
    parts = ClipParts(pool, Sources([], {}, np.zeros(0, np.uint64)))
    names = table["clip_id"].combine_chunks()
    judged_N = parts.kinds(table)["random"]
    return {name for name, judged in zip(texts(names), judged_N.tolist(), strict=True) if judged}


def _interleaved(
    streams: Mapping[Stream, list[QueueItem]], shares: Mapping[Stream, float], last: list[QueueItem]
) -> Iterator[QueueItem]:
    """Yield random clips with their shares of the other streams between them, then what is left of these.

    The shares are of the whole queue; a stream without clips leaves its share to `random`.
    """
    others = {stream: iter(items) for stream, items in streams.items() if stream != "random" and items}
    rest = 1 - sum(shares[stream] for stream in others)
    owed = dict.fromkeys(others, 0.0)
    for item in streams["random"]:
        yield item
        for stream, waiting in others.items():
            owed[stream] += shares[stream] / rest
            while owed[stream] >= 1:
                owed[stream] -= 1
                yield from _next_of(waiting)
    for stream, waiting in others.items():
        if stream != "flagged":
            yield from waiting
    yield from last
    yield from others.get("flagged", ())


def _next_of(waiting: Iterator[QueueItem]) -> Iterator[QueueItem]:
    item = next(waiting, None)
    if item is not None:
        yield item
