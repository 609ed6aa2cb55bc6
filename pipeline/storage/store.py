"""The store: one root with Delta tables (rows) and immutable blobs (tars, models, pictures).

`file:` paths by default, `s3:` through botocore and delta-rs with one configuration for both, any fsspec URL for blobs.
A blob is always written before the rows that name it; a blob that no row names does not exist for readers.

    store = Store("lampworks-data")
    store.write_blob("reports/index.html", b"...")
    store.append("downloads", rows)
    table = store.read("clips", columns=["clip_id"], where=pc.field("batch") == "2026w47-0001")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from pipeline.storage.blobs import Blobs
from pipeline.storage.purge import PurgedTables


class Store(PurgedTables, Blobs):
    """A root of tables and blobs. Cheap to make, safe to pickle into worker processes."""

    def replace_from(
        self, name: str, read: Callable[[], pa.RecordBatchReader], inputs: Mapping[str, Any] | None = None
    ) -> int:
        """Replace all rows by those of a reader, in one commit, so that they need not fit into memory.

        Args:
            name: the table.
            read: returns a reader of rows in the table's schema; called again where another writer was faster.
            inputs: what the rows were made from, recorded with the commit.

        Returns:
            The new version.
        """
        self._write(name, read, "overwrite", inputs)
        return self._compacted_version(name)
