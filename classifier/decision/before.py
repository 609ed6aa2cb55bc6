"""Keep the decision before: what is needed of it to compare the next one with it, in the table `decided_before`."""

from __future__ import annotations

import pyarrow as pa

from classifier.decision.content import content_of
from pipeline.storage.arrow import among, pc
from pipeline.storage.rows import rows_table
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down


def keep_decision_before(store: Store, coming: pa.Table) -> None:
    """Copy `curated` to `decided_before`, as the next decision is about to replace it.

    Nothing is copied where there is no decision, or where the next one says the same. After a kill before the next
    decision is published, the copy is made again.

    Args:
        store: the store.
        coming: the rows that `curated` will have, sorted by clip_id.
    """
    if store.version("curated") < 0:
        return
    present = store.read("curated").sort_by("clip_id")
    content = content_of(present)
    if content == content_of(coming) or store.inputs("decided_before").get("content") == content:
        return
    names = [name for name in SCHEMAS["decided_before"].names if name in present.column_names]
    versions = {
        name: str(present[name][0].as_py()) if len(present) else "" for name in ("rule_version", "model_version")
    }
    rows = rows_table("decided_before", present.select(names))
    hidden = taken_down(store).hidden_among(store, map(str, rows["video_id"].unique().to_pylist()))
    store.replace(
        "decided_before",
        rows.filter(pc.invert(among(rows["video_id"], hidden))),
        inputs={"content": content, **versions},
    )
