"""The actions of clips as a Parquet blob, beside a video's clips and beside each tar of the training set.

One row is one row of a sidecar within one transition of a clip; a transition that no row leads over has none.
"""

from __future__ import annotations

import io
from collections.abc import Collection

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage.arrow import parquet_table, pc
from pipeline.storage.damage import DamagedError
from pipeline.storage.store import Store

SUFFIX = ".actions.parquet"
_MEND = "Run `lampworks doctor --deep --mend` and then `lampworks run`: it is made again."
# fmt: off
TABLE = pa.schema([pa.field(name, kind) for name, kind in {
    "clip_id": pa.string(), "transition": pa.int32(), "row": pa.int64(), "weight": pa.float32(),
    "label": pa.string(), "values": pa.list_(pa.float32()),
}.items()])
# fmt: on
"""`transition` k leads from frame k of the clip to frame k + 1; `row` is that of the sidecar, from 0; `weight` says for
how much of it the row is in force; `label` is a discrete action, `values` a continuous one, and the other is null."""


def table_bytes(table: pa.Table) -> bytes:
    """Return the bytes of a blob; equal rows give equal bytes with the same version of Arrow."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=1 << 16)
    return buffer.getvalue()


def read_table(store: Store, key: str, clips: Collection[str] | None = None) -> pa.Table:
    """Return the rows of a blob, of some clips or of all; DamagedError where it is not what was written."""
    try:
        table = parquet_table(store.read_blob(key)).select(TABLE.names).cast(TABLE)
    except FileNotFoundError as exc:
        raise DamagedError(f"{store.root}/{key} is not there. {_MEND}") from exc
    except (pa.ArrowException, OSError, KeyError) as exc:
        reason = str(exc).splitlines()[0][:200]
        raise DamagedError(f"{store.root}/{key} is no table of actions ({reason}). {_MEND}") from exc
    if clips is None:
        return table
    return table.filter(pc.is_in(table["clip_id"], value_set=pa.array(sorted(clips), pa.string())))
