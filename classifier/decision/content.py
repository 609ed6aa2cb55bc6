"""What a decision says, as one hash: equal decisions have equal hashes, on any root and after any number of passes.

The rule and the model are left out: two rules that decide the same on every clip make the same set. So is the order of
the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pyarrow as pa

from pipeline.storage.arrow import pc
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store

_LEFT_OUT = frozenset({"rule_version", "model_version"})
_COLUMNS = tuple(name for name in SCHEMAS["curated"].names if name not in _LEFT_OUT)
_BITS = 128


def content_of(batches: Iterable[pa.RecordBatch]) -> str:
    """Return a hash of rows of `curated`, 32 hex digits; the rows are read once, a batch at a time."""
    sum_of_hashes = 0
    for batch in batches:
        texts = [pc.fill_null(batch.column(name).cast(pa.string()), "\0") for name in _COLUMNS]
        for line in pc.binary_join_element_wise(*texts, "\t").to_pylist():
            digest = hashlib.blake2b(line.encode("utf-8", "surrogatepass"), digest_size=_BITS // 8).digest()
            sum_of_hashes += int.from_bytes(digest, "big")
    return f"{sum_of_hashes % (1 << _BITS):032x}"


def decided_content(store: Store) -> str | None:
    """Return the hash of the present decision; None where there is none yet."""
    if store.version("curated") < 0:
        return None
    recorded = store.inputs("curated").get("content")
    return str(recorded) if recorded else present_content(store)


def present_content(store: Store) -> str:
    """Return the hash of the rows that `curated` has now: a takedown takes rows away."""
    return content_of(store.scan("curated", _COLUMNS))
