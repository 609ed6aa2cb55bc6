"""The present decision beside the one before it, clip by clip, a part at a time.

Both tables are written in the order of the batches, and a clip's batch never changes. So a few batches are read from a
few row groups, and memory does not grow with the number of clips.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from pipeline.storage.arrow import counts, pc
from pipeline.storage.store import Store

PART_ROWS = 1 << 17
_BEFORE = ("decision", "reason", "kind", "probability")
_COLUMNS = {"curated": ("batch", "video_id", *_BEFORE, "rating"), "decided_before": ("batch", "video_id", *_BEFORE)}
"""What is read of the present decision, and of the one before."""


@dataclass(frozen=True)
class PairedDecisions:
    """The clips of two decisions."""

    store: Store
    clips: int
    """In the present decision."""
    clips_before: int
    edges: tuple[str, ...]
    """First batch of each part but the first."""

    def parts(self) -> Iterator[pa.Table]:
        """Yield the clips of both decisions, sorted by id, a part at a time.

        The columns are clip_id, video_id and batch; decision, reason, kind, probability and rating, null where the clip
        is not in the present decision; and decision_before, reason_before, kind_before and probability_before, null
        where it was not in the one before.
        """
        for low, high in zip([None, *self.edges], [*self.edges, None], strict=True):
            where = pc.scalar(True) if low is None else pc.field("batch") >= low
            yield self._part(where if high is None else where & (pc.field("batch") < high))

    def _part(self, where: pc.Expression) -> pa.Table:
        now, before = (self.store.read(name, ["clip_id", *names], where) for name, names in _COLUMNS.items())
        before = before.rename_columns(["clip_id", *(f"{name}_before" for name in before.column_names[1:])])
        pairs = now.join(before, "clip_id", join_type="full outer").sort_by("clip_id")
        for name in ("batch", "video_id"):
            either = pc.coalesce(pairs[name], pairs[f"{name}_before"])
            pairs = pairs.set_column(pairs.column_names.index(name), name, either).drop_columns([f"{name}_before"])
        return pairs


def pair_decisions(store: Store, part_rows: int = PART_ROWS) -> PairedDecisions:
    """Return the present decision beside the one before, in parts of about `part_rows` clips (a batch at least)."""
    found = {table: _by_batch(store, table) for table in _COLUMNS}
    edges, rows = [], 0
    for batch, clips in sorted((found["curated"] | found["decided_before"]).items()):
        if rows and rows + clips > part_rows:
            edges.append(batch)
            rows = 0
        rows += clips
    return PairedDecisions(store, found["curated"].total(), found["decided_before"].total(), tuple(edges))


def _by_batch(store: Store, table: str) -> Counter[str]:
    clips = Counter[str]()
    for part in store.scan(table, ["batch"]):
        clips.update(counts(part.column(0)))
    return clips
