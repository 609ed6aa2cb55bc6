"""What readers of a root see, as hashes that two roots can be compared by.

Not compared is what says when or how fast something was done: the columns of `TIMES`, the tables of `USED`, the frames
a second of a packed world (and its id, which follows from its manifest, which has them), and of the audit which
versions of the tables it was made from (a run that was killed has made commits of its own).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pipeline.inspect.gc import collect_garbage
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store

TIMES = frozenset({
    "created_at", "finished_at", "found_at", "requested_at", "searched_at", "started_at", "labelled_at", "seen_at",
    "attempt_id", "search_id", "event_id",
})  # fmt: skip
"""Columns that say when a row was written, or a name drawn for it."""
USED = frozenset({"costs"})
"""Tables of what work has used: a killed piece of work says nothing, and one that is done twice says so twice."""
COSTS = "reports/latest/costs.html"
PACKED = "playable_world"
AUDIT = "reports/curation/audit.json"
FOLDERS = ("raw", "clips", "shards", "tokens", "models", "labels", "reports")


def published(store: Store) -> dict[str, str]:
    """Return a hash of every table's rows and of every blob that rows name or that is read by its key."""
    found = {}
    for table in SCHEMAS.keys() - USED:
        rows = [_compared(row) for row in store.read(table).to_pylist()]
        found[f"tables/{table}: {len(rows)} rows"] = _digest(json.dumps(sorted(rows, key=str), default=str))
    garbage = set(collect_garbage(store, dry_run=True))
    for folder in FOLDERS:
        for key in store.list_blobs(folder):
            if key in garbage or key == COSTS or (PACKED in key and key.endswith("/manifest.json")):
                continue
            name = "/".join("ID" if place == 2 and PACKED in key else part for place, part in enumerate(key.split("/")))
            found[name] = _audit(store) if key == AUDIT else store.sha256(key)
    return found


def _compared(row: dict[str, Any]) -> dict[str, Any]:
    row = {name: value for name, value in row.items() if name not in TIMES}
    if row.get("kind") != PACKED:
        return row
    files = {name: digest for name, digest in json.loads(row["files"]).items() if name != "manifest.json"}
    figures = {name: value for name, value in json.loads(row["figures"]).items() if name != "fps"}
    return {**row, "files": files, "figures": figures, "model_id": "", "path": ""}


def _audit(store: Store) -> str:
    found = json.loads(store.read_blob(AUDIT))
    del found["made_from"]
    return _digest(json.dumps(found, sort_keys=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
