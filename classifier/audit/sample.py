"""Draw the clips of an audit: which of the present decision's clips people rate, each with its inclusion probability.

Of the kept clips a simple random sample is drawn. The others (drop and review) are divided by their probability into
strata of known size, and more is drawn of those near the cut, where a wrong decision is likely. Clips that a person
rated before are not asked about again; their ratings are counted as they are. Copies are left out, because the clip
that they repeat stands for them, and so are clips whose frames cannot be read.

The sample is the blob `labels/audit.json`, in the format of the labelling queue. It belongs to one decision and depends
on that decision and the seed alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypedDict

import numpy as np

from classifier.decision.content import decided_content
from classifier.labels.streams import Stream
from classifier.pool import Pool, load_pool
from classifier.training.arrays import Rows
from pipeline.config import AuditConfig, Config
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.label_events import Labels, load_labels
from pipeline.progress import ProgressCallback, notify
from pipeline.storage.damage import DamagedError
from pipeline.storage.json_blob import read_json
from pipeline.storage.store import Store
from pipeline.storage.takedown import repeat_after_takedown

AUDIT_KEY = "labels/audit.json"
KEPT, NEAR, MIDDLE, FAR, UNSCORED = "kept", "near the cut", "middle", "far below", "without a score"
"""Strata: the kept clips, and the others by their rank."""
_ADVICE = "`lampworks label --audit` draws another."
_SHARES = {NEAR: 0.1, MIDDLE: 0.3}
"""Share of the clips that are not kept, from the highest probability down; the rest is `FAR`."""
_ASKED = {NEAR: 0.5, MIDDLE: 0.3, FAR: 0.2}
"""Share of the questions about them."""
_BINS = 4096
_BATCH_ROWS = 1 << 16


class Stratum(TypedDict):
    """Clips that are drawn with one probability."""

    name: str
    stream: Stream
    clips: int
    """How many there are."""
    drawn: int


class AuditedClip(TypedDict):
    """A drawn clip; a labelling queue lists its clips in the same form, without the stratum."""

    clip_id: str
    stream: Stream
    inclusion: float
    """Probability with which it was drawn."""
    stratum: int
    """Place in the list of strata."""


class KnownClips(TypedDict):
    """Clips that people had rated when the audit was drawn."""

    kept: int
    kept_good: int
    left: int
    """Not kept, whether dropped or in review."""
    left_good: int


class AskedClips(TypedDict):
    """The section `audit` of the configuration."""

    kept: int
    dropped: int
    seed: int


class Audit(TypedDict):
    """The content of `labels/audit.json`."""

    decision: str
    """Hash of the decision whose clips were drawn."""
    asked: AskedClips
    known: KnownClips
    left_out: int
    """Copies, and clips whose frames cannot be read."""
    strata: list[Stratum]
    clips: list[AuditedClip]
    """In the order in which they are shown: that of a hash, which says nothing about the decision."""


class _Row(NamedTuple):
    clip_id: str
    kept: bool
    probability: float | None


@dataclass
class _Heap:
    """The clips of a stratum with the smallest hashes."""

    size: int
    clips: int = 0
    smallest: list[tuple[int, str]] = field(default_factory=list)
    """Negated, because heapq pops the smallest."""

    def add(self, number: int, clip_id: str) -> None:
        self.clips += 1
        heapq.heappush(self.smallest, (-number, clip_id))
        if len(self.smallest) > self.size:
            heapq.heappop(self.smallest)


def write_audit(job: Job) -> Audit:
    """Draw the audit of the present decision, write it to `labels/audit.json` unless it is there, and return it.

    Raises:
        UserError: nothing was decided yet.
    """
    store = job.store
    audit = repeat_after_takedown(store, lambda: draw_audit(store, job.config))
    data = json.dumps(audit, indent=0).encode()
    if not store.exists(AUDIT_KEY) or store.read_blob(AUDIT_KEY) != data:
        store.write_blob(AUDIT_KEY, data)
    return audit


def audit_of_present_decision(job: Job) -> Audit:
    """Return the audit as it was drawn for the present decision; draw it where there is none, or one of another.

    Ratings that came in since are no reason to draw again: who stopped goes on where they were.
    """
    found = undamaged_audit(job.store, job.on_progress)
    return found if found is not None and is_of_present(found, job) else write_audit(job)


def is_of_present(audit: Audit, job: Job) -> bool:
    """Tell whether an audit is of the present decision and as the configuration asks for it."""
    return (audit["decision"], audit.get("asked")) == (decided_content(job.store), dataclasses.asdict(job.config.audit))


def undamaged_audit(store: Store, on_progress: ProgressCallback | None) -> Audit | None:
    """Return the audit that was drawn last; None, said to the callback, where its file is damaged."""
    try:
        return load_audit(store)
    except DamagedError as exc:
        notify(str(exc), on_progress)
        return None


def load_audit(store: Store) -> Audit | None:
    """Return the audit that was drawn last; None where there is none.

    Raises:
        DamagedError: the file is no audit.
    """
    if not store.exists(AUDIT_KEY):
        return None
    found: Any = read_json(store, AUDIT_KEY, _ADVICE)
    if not _lists(found.get("strata"), Stratum) or not _lists(found.get("clips"), AuditedClip):
        raise DamagedError(f"{store.root}/{AUDIT_KEY} is damaged: it lists no clips. {_ADVICE}")
    audit: Audit = found
    return audit


def _lists(found: Any, kind: type) -> bool:
    return isinstance(found, list) and all(
        isinstance(item, dict) and item.keys() == kind.__annotations__.keys() for item in found
    )


def draw_audit(store: Store, config: Config) -> Audit:
    """Return an audit of the present decision; two passes over the table, in memory that does not grow with it.

    Raises:
        UserError: nothing was decided yet.
    """
    decision = decided_content(store)
    if decision is None:
        raise UserError("there is no decision to audit yet: make one with `lampworks run`")
    pool, labels, asked = load_pool(store, config), load_labels(store, config), config.audit
    known, left_out = KnownClips(kept=0, kept_good=0, left=0, left_good=0), 0
    histogram = np.zeros(_BINS, np.int64)
    for row in _decided(pool):
        if row is None:
            left_out += 1
        elif row.clip_id in labels.by_people:
            _count_known(known, row, labels.ratings[row.clip_id] >= config.classifier.good_rating)
        elif not row.kept and row.probability is not None:
            histogram[_bin(row.probability)] += 1
    lowest = _lowest_bins(histogram, asked.dropped)
    heaps = {name: _Heap(size) for name, size in _sizes(asked, histogram, lowest).items()}
    for row in _decided(pool):
        if row is not None and row.clip_id not in labels.by_people:
            heaps[_stratum(row, lowest)].add(_hash(asked.seed, decision, row.clip_id), row.clip_id)
    return _audit(decision, asked, known, left_out, heaps)


def _decided(pool: Pool) -> Iterator[_Row | None]:
    """Yield the clips of the decision that may be asked about; None in place of one that may not."""
    columns = ["clip_id", "video_id", "clip_spec", "decision", "reason", "probability"]
    for batch in pool.store.scan("curated", columns, None, _BATCH_ROWS):
        for row in batch.to_pylist():
            if row["video_id"] not in pool.videos or row["clip_spec"] != pool.spec:
                continue  # it was taken down, or is cut in another way now
            if row["reason"].startswith(("duplicate of ", "no score")):
                yield None
            else:
                yield _Row(row["clip_id"], row["decision"] == "keep", row["probability"])


def _count_known(known: KnownClips, row: _Row, good: bool) -> None:
    if row.kept:
        known["kept"] += 1
        known["kept_good"] += good
    else:
        known["left"] += 1
        known["left_good"] += good


def _lowest_bins(histogram: Rows, asked: int) -> Mapping[str, int]:
    """Return the lowest bin of the strata that are not `FAR`, from a histogram of the clips that are not kept.

    A stratum has its share of the clips, and at least as many as are asked about.
    """
    clips, from_top = int(histogram.sum()), np.cumsum(histogram[::-1])
    lowest, wanted = {}, 0.0
    for name, share in _SHARES.items():
        wanted += max(share * clips, _ASKED[name] * asked)
        place = int(np.searchsorted(from_top, min(wanted, clips)))
        lowest[name] = _BINS - 1 - place
    return lowest


def _sizes(asked: AuditConfig, histogram: Rows, lowest: Mapping[str, int]) -> dict[str, int]:
    """Return how many clips are drawn of each stratum; what one cannot give is asked of the next."""
    edges = [lowest[NEAR], lowest[MIDDLE], 0]
    ends = [_BINS, lowest[NEAR], lowest[MIDDLE]]
    there = [int(histogram[low:high].sum()) for low, high in zip(edges, ends, strict=True)]
    sizes, over = {KEPT: asked.kept}, 0.0
    for name, clips in zip(_ASKED, there, strict=True):
        wanted = _ASKED[name] * asked.dropped + over
        sizes[name] = min(max(round(wanted), 1), clips)
        over = wanted - sizes[name]
    # clips without a probability: all of them, where technical flags alone decided
    return {**sizes, UNSCORED: asked.dropped if not any(there) else max(round(over), 1)}


def _stratum(row: _Row, lowest: Mapping[str, int]) -> str:
    if row.kept:
        return KEPT
    if row.probability is None:
        return UNSCORED
    place = _bin(row.probability)
    return NEAR if place >= lowest[NEAR] else MIDDLE if place >= lowest[MIDDLE] else FAR


def _bin(probability: float) -> int:
    return min(max(int(probability * _BINS), 0), _BINS - 1)


def _hash(seed: int, decision: str, clip_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\n{decision}\n{clip_id}".encode()).digest()[:8], "big")


def _audit(decision: str, asked: AuditConfig, known: KnownClips, left_out: int, heaps: Mapping[str, _Heap]) -> Audit:
    named = [(name, heap) for name, heap in heaps.items() if heap.clips]
    strata = [
        Stratum(name=name, stream=_stream(name), clips=heap.clips, drawn=len(heap.smallest)) for name, heap in named
    ]
    drawn = [(-number, clip_id, place) for place, (_, heap) in enumerate(named) for number, clip_id in heap.smallest]
    clips = [
        AuditedClip(
            clip_id=clip_id,
            stream=strata[place]["stream"],
            inclusion=strata[place]["drawn"] / strata[place]["clips"],
            stratum=place,
        )
        for _, clip_id, place in sorted(drawn)
    ]
    questions = AskedClips(kept=asked.kept, dropped=asked.dropped, seed=asked.seed)
    return Audit(decision=decision, asked=questions, known=known, left_out=left_out, strata=strata, clips=clips)


def _stream(name: str) -> Stream:
    return "audit_high" if name == KEPT else "audit_low"


def drawn_by_stream(audit: Audit) -> dict[str, int]:
    """Return how many clips were drawn, by stream."""
    return dict(Counter(clip["stream"] for clip in audit["clips"]))


def answers_of(audit: Audit, labels: Labels, *, stand_in: bool = False) -> Sequence[tuple[AuditedClip, int]]:
    """Return the clips of an audit that a person rated, with the rating; `stand_in`: or the embedded source."""
    rated = labels.ratings if stand_in else labels.by_people
    return [(clip, labels.ratings[clip["clip_id"]]) for clip in audit["clips"] if clip["clip_id"] in rated]
