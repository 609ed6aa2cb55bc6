"""The store: one root with Delta tables (rows) and immutable blobs (tars, models, pictures).

`file:` paths by default, `s3:` through s3fs and delta-rs with one configuration for both, any fsspec URL for blobs.
A blob is always written before the rows that name it; a blob that no row names does not exist for readers.

    store = Store("lampworks-data")
    store.write_blob("reports/index.html", b"...")
    store.append("downloads", rows)
    table = store.read("clips", columns=["clip_id"], where=pc.field("batch") == "2026w47-0001")
"""

from __future__ import annotations

from pipeline.storage.blobs import Blobs
from pipeline.storage.tables import Tables


class Store(Tables, Blobs):
    """A root of tables and blobs. Cheap to make, safe to pickle into worker processes."""
