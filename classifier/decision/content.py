"""What a decision says, as one hash: equal decisions have equal hashes, on any root and after any number of passes.

The rule and the model are left out: two rules that decide the same on every clip make the same set.
"""

from __future__ import annotations

import hashlib

import pyarrow as pa

from pipeline.storage.arrow import pc
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store

_PART_ROWS = 1 << 16
_LEFT_OUT = frozenset({"rule_version", "model_version"})


def content_of(table: pa.Table) -> str:
    """Return a hash of the rows of `curated`, sorted by clip_id."""
    digest = hashlib.sha256()
    names = [name for name in SCHEMAS["curated"].names if name not in _LEFT_OUT]
    for batch in table.select(names).to_batches(_PART_ROWS):
        texts = [pc.fill_null(column.cast(pa.string()), "\0") for column in batch.columns]
        lines = pc.binary_join_element_wise(*texts, "\t")
        digest.update("\n".join([*lines.to_pylist(), ""]).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]


def decided_content(store: Store) -> str | None:
    """Return the hash of the present decision; None where there is none yet."""
    if store.version("curated") < 0:
        return None
    recorded = store.inputs("curated").get("content")
    return str(recorded) if recorded else content_of(store.read("curated").sort_by("clip_id"))
