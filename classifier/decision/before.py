"""Keep the decision before: what is needed of it to compare the next one with it, in the table `decided_before`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from classifier.decision.content import present_content
from pipeline.storage.arrow import among, pc
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

_VERSIONS = ("rule_version", "model_version")
_SCHEMA = SCHEMAS["decided_before"]


def keep_decision_before(store: Store, coming: str, folder: Path) -> None:
    """Copy `curated` to `decided_before`, as the next decision is about to replace it.

    Nothing is copied where there is no decision, or where the next one says the same. After a kill before the next
    decision is published, the copy is made again. Memory does not grow with the rows.

    Args:
        store: the store.
        coming: hash of the rows that `curated` will have (`content_of`).
        folder: scratch space.
    """
    if store.version("curated") < 0:
        return
    present = present_content(store)
    if present == coming or store.inputs("decided_before").get("content") == present:
        return
    first = next(store.scan("curated", list(_VERSIONS)), None)
    versions = {name: str(first[name][0].as_py()) if first and len(first) else "" for name in _VERSIONS}
    spool = folder / "before.arrow"
    videos: set[str] = set()
    with pa.OSFile(str(spool), "wb") as file, pa.ipc.new_stream(file, _SCHEMA) as writer:
        for batch in store.scan("curated", _SCHEMA.names):
            writer.write_batch(without_other_clips(batch).cast(_SCHEMA))
            videos.update(map(str, batch["video_id"].unique().to_pylist()))
    hidden = taken_down(store).hidden_among(store, videos)
    store.replace_from("decided_before", lambda: _without(spool, hidden), inputs={"content": present, **versions})


Rows = TypeVar("Rows", pa.RecordBatch, pa.Table)


def without_other_clips(rows: Rows) -> Rows:
    """Return rows whose reasons name no other clip: that may be taken down, while the row stays."""
    # by the reason, because rows of older versions have no kind
    reason = pc.if_else(pc.starts_with(rows["reason"], "duplicate of "), "duplicate", rows["reason"])
    return rows.set_column(rows.schema.names.index("reason"), "reason", reason)


def _without(spool: Path, hidden: Collection[str]) -> pa.RecordBatchReader:
    """Return a reader of the spooled rows whose videos are not hidden."""
    reader = pa.ipc.open_stream(pa.OSFile(str(spool), "rb"))
    shown = (batch.filter(pc.invert(among(batch["video_id"], hidden))) for batch in reader)
    return pa.RecordBatchReader.from_batches(_SCHEMA, shown)
