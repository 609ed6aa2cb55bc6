"""Keep the decision before: what is needed of it to compare the next one with it, in the table `decided_before`."""

from __future__ import annotations

from classifier.decision.content import present_content
from pipeline.storage.arrow import among, pc
from pipeline.storage.rows import rows_table
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down


def keep_decision_before(store: Store, coming: str) -> None:
    """Copy `curated` to `decided_before`, as the next decision is about to replace it.

    Nothing is copied where there is no decision, or where the next one says the same. After a kill before the next
    decision is published, the copy is made again.

    Args:
        store: the store.
        coming: hash of the rows that `curated` will have (`content_of`).
    """
    if store.version("curated") < 0:
        return
    present = present_content(store)
    if present == coming or store.inputs("decided_before").get("content") == present:
        return
    rows = store.read("curated")
    names = [name for name in SCHEMAS["decided_before"].names if name in rows.column_names]
    versions = {name: str(rows[name][0].as_py()) if len(rows) else "" for name in ("rule_version", "model_version")}
    kept = rows_table("decided_before", rows.select(names))
    hidden = taken_down(store).hidden_among(store, map(str, kept["video_id"].unique().to_pylist()))
    store.replace(
        "decided_before",
        kept.filter(pc.invert(among(kept["video_id"], hidden))).sort_by(
            [("batch", "ascending"), ("clip_id", "ascending")]
        ),
        inputs={"content": present, **versions},
    )
