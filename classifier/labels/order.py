"""Put drawn clips, and those that a model chooses, into one order.

The draw comes first: a model chooses from the clips that the stream `random` leaves, so that these stay a plain draw.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from classifier.labels.by_model import badly_predicted, diverse_clips, has_embeddings, prediction_by_clip
from classifier.labels.by_score import BY_SCORE, Chosen, choose_by_score, keep_threshold
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


def order_clips(pool: Pool, base: BaseDraw, rated: Collection[str]) -> list[QueueItem]:
    """Return the queue.

    Args:
        pool: the clips.
        base: their draw.
        rated: clips that no model chooses, because they are rated.
    """
    labels, judged = pool.config.labels, base.drawn["random"]
    size, shares = len(judged.clip_ids), active_shares(labels)
    threshold, psnr = keep_threshold(pool), prediction_by_clip(pool.store)
    there = {
        **dict.fromkeys(BY_SCORE, threshold is not None), "diverse": has_embeddings(pool), "uncovered": bool(psnr)
    }  # fmt: skip
    wanted = {stream: int(share * size) if there[stream] else 0 for stream, share in shares.items()}
    # the choices of models are made from what `random` leaves, so that its clips stay a plain draw
    drawn = _first(base, "random", size - sum(wanted.values()), labels.max_per_source)
    taken = {*rated, *drawn}
    found = {} if threshold is None else choose_by_score(pool, base.sources, threshold, wanted, taken)
    chosen = _still_offered(pool, found)
    taken.update(clip_id for one in chosen.values() for clip_id in one.clip_ids)
    if wanted["diverse"]:
        left = [clip_id for clip_id in judged.clip_ids if clip_id not in taken]
        chosen["diverse"] = Chosen(diverse_clips(pool, left, wanted["diverse"]), None)
        taken.update(chosen["diverse"].clip_ids)
    if wanted["uncovered"]:
        worst: dict[Stream, Chosen] = {"uncovered": Chosen(badly_predicted(psnr, taken, wanted["uncovered"]), None)}
        chosen.update(_still_offered(pool, worst))
    used = {*drawn, *(clip_id for one in chosen.values() for clip_id in one.clip_ids)}
    rest = [clip_id for clip_id in judged.clip_ids if clip_id not in used]
    flagged, copies = (
        _items(kind, _first(base, kind, len(base.drawn[kind].clip_ids), labels.max_per_source))
        for kind in ("flagged", "duplicate")
    )
    streams: dict[Stream, list[QueueItem]] = {"random": _items("random", drawn), "flagged": flagged}
    streams.update(
        (stream, _items(stream, dict.fromkeys(one.clip_ids, one.inclusion))) for stream, one in chosen.items()
    )
    last = _items("random", dict.fromkeys(rest))
    items = list(_interleaved(streams, {"flagged": labels.flagged_share, **shares}, last))
    return [*items, *copies][: labels.queue_size]


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
    table = pool.scan(["flags"], clip_ids=clip_ids)
    parts = ClipParts(pool, Sources([], {}, np.zeros(0, np.uint64)))
    names = table["clip_id"].combine_chunks()
    judged_N = parts.kinds(names, table["flags"].combine_chunks())["random"]
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
