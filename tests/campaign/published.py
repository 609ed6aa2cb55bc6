"""What readers of a root see, as hashes that two roots can be compared by.

Not compared is what says when, how fast or in how many goes something was done: the columns of `TIMES`, the tables of
`USED`, the figures `SPEEDS` of a model (a packed world holds the rows of its models, with both, and the name of its
folder follows from them), and of the audit which versions of the tables it was made from (a run that was killed has
made commits of its own).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Any

from models.play.packed.layout import MANIFEST, WORLD_FILE
from pipeline.inspect.gc import collect_garbage
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store

TIMES = frozenset({
    "created_at", "finished_at", "found_at", "requested_at", "searched_at", "started_at", "labelled_at", "seen_at",
    "attempt_id", "search_id", "event_id", "new",
})  # fmt: skip
"""Columns that say when a row was written, or a name drawn for it. `new` of a search is one of them: of one that was
killed between `videos` and `searches` nobody has counted the new videos, and the next one knows them all."""
USED = frozenset({"costs"})
"""Tables of what work has used: a killed piece of work says nothing, and one that is done twice says so twice."""
SPEEDS = frozenset({
    "cpu_seconds", "cpu_s", "wall_s", "samples_per_s", "frames_per_s", "utilisation", "peak_gflops", "followed_share",
    "fps", "resumed_at_step",
})  # fmt: skip
"""Figures of a model that say how fast it was made or runs, or that its training went on after a kill."""
COSTS = "reports/latest/costs.html"
PACKED = "playable_world"
AUDIT = "reports/curation/audit.json"
FOLDERS = ("raw", "clips", "shards", "tokens", "models", "labels", "reports")


def published(store: Store, garbage: Collection[str] | None = None) -> dict[str, str]:
    """Return a hash of every table's rows and of every blob that rows name or that is read by its key.

    Args:
        store: what is read.
        garbage: keys that no row names; None: they are looked for.
    """
    found = {}
    for table in SCHEMAS.keys() - USED:
        rows = [_compared(row) for row in store.read(table).to_pylist()]
        found[f"tables/{table}: {len(rows)} rows"] = _digest(json.dumps(sorted(rows, key=str), default=str))
    garbage = set(collect_garbage(store, dry_run=True) if garbage is None else garbage)
    for folder in FOLDERS:
        for key in store.list_blobs(folder):
            if key in garbage or key == COSTS or (PACKED in key and key.endswith(f"/{MANIFEST}")):
                continue
            name = "/".join("ID" if place == 2 and PACKED in key else part for place, part in enumerate(key.split("/")))
            if key == AUDIT:
                found[name] = _audit(store)
            elif PACKED in key and key.endswith(f"/{WORLD_FILE}"):
                found[name] = _digest(json.dumps(_timeless(json.loads(store.read_blob(key))), sort_keys=True))
            elif key.endswith(".html"):
                # its commands name the root
                page = store.read_blob(key).decode()
                found[name] = _digest(page.replace(store.root, "ROOT"))
            else:
                found[name] = store.sha256(key)
    return found


def _compared(row: dict[str, Any]) -> dict[str, Any]:
    row = {name: value for name, value in row.items() if name not in TIMES}
    if "figures" in row:
        row["figures"] = _timeless(json.loads(row["figures"]))
    if row.get("kind") != PACKED:
        return row
    files = json.loads(row["files"])
    files = {name: digest for name, digest in files.items() if name not in (MANIFEST, WORLD_FILE)}
    return {**row, "files": files, "path": ""}


def _timeless(found: Any) -> Any:
    """Return a JSON value without its times and speeds, wherever in it they are."""
    if isinstance(found, dict):
        return {name: _timeless(value) for name, value in found.items() if name not in TIMES | SPEEDS}
    return [_timeless(value) for value in found] if isinstance(found, list) else found


def _audit(store: Store) -> str:
    found = json.loads(store.read_blob(AUDIT))
    del found["made_from"]
    return _digest(json.dumps(found, sort_keys=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
