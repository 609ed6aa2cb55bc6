"""Delete blobs that no row names: those of killed runs, of replaced shards and models; end uploads that never ended.

Readers ignore such blobs, so deleting them changes nothing for them. Rows of videos that were taken down do not count:
the downloads and clips of these videos are deleted. Of replaced shards that a model names, the manifest and the indexes
stay: they say what the model has seen. Tables, the Dagster home, the recordings of the embedded source,
reports and labels are kept; of the latter two, only temporary files of unfinished writes are deleted.

Run it while nothing else writes to the root, because a blob is written before the rows that name it.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.download.ledger import fold_all
from pipeline.shards.index import index_key
from pipeline.shards.manifest import card_keys
from pipeline.shards.read import manifest_key
from pipeline.sources.actions import raw_actions
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down
from pipeline.takedown.shards import tars_of

_SWEPT = ("raw", "clips", "shards", "tokens", "models")
_KEPT = ("reports", "labels")
_AN_UPLOAD_TAKES = timedelta(days=1)
"""At most: an upload in parts to an object store that began earlier is of a process that was killed."""


def collect_garbage(store: Store, *, dry_run: bool) -> list[str]:
    """Delete blobs that no row names, and return their keys, sorted.

    Checkpoints stay, as trainings could go on from them (`pipeline.inspect.gc_checkpoints` frees them).

    Args:
        store: the store.
        dry_run: list them only.
    """
    files, folders = _named(store)
    garbage = []
    for prefix in (*_SWEPT, *_KEPT):
        for key in store.list_blobs(prefix):
            unfinished_write = key.rsplit("/", 1)[-1].startswith(".tmp-")
            resumable = prefix == "models" and "/checkpoints/" in key
            named = key in files or resumable or any(key.startswith(folder) for folder in _parents(key) & folders)
            if unfinished_write or (prefix in _SWEPT and not named):
                garbage.append(key)
    began_before = datetime.now(UTC) - _AN_UPLOAD_TAKES
    # ended by their own ids, never by key: an object may have been published under the same key since
    uploads = store.unfinished_uploads(began_before)
    if not dry_run:
        store.delete_all(garbage)
        store.abort_uploads(began_before)
        if store.is_local:
            for key in garbage:
                _drop_empty_folders(Path(store.url(key)).parent, Path(store.root))
        store.forget_gone_checksums()
    return sorted([*garbage, *(f"{key} (an upload that never ended)" for key in uploads)])


def _named(store: Store) -> tuple[set[str], set[str]]:
    """Return the blob keys that rows name, and the folders (with a final slash) of which they name every blob."""
    hidden = taken_down(store).hidden_videos(store)
    files: set[str] = set()
    cuts = store.read("clippings", ["video_id", "tar", "actions"])
    columns = [cuts.select(["video_id", name]).rename_columns(["video_id", "key"]) for name in ("tar", "actions")]
    # the ledger names the one file of a video that counts, and none where it was dropped
    raw = fold_all(store).select(["video_id", "path"]).rename_columns(["video_id", "key"])
    for table in (*columns, raw):
        named = zip(table["video_id"].to_pylist(), table["key"].to_pylist(), strict=True)
        keys = [key for video_id, key in named if key and video_id not in hidden]
        files.update(keys, *map(raw_actions, keys if table is raw else ()))
    folders: set[str] = set()
    for row in store.read("shards", ["version", "path", "index", "actions"]).to_pylist():
        files.update((row["path"], row["index"] or row["path"], row["actions"] or row["path"]))
        files.add(manifest_key(row["version"]))
        files.update(card_keys(row["version"]))
    for version in filter(None, store.read("models", ["shards_version"])["shards_version"].unique().to_pylist()):
        files.update((manifest_key(version), *map(index_key, tars_of(store, version))))
    for row in store.read("tokens", ["path", "index"]).to_pylist():
        files.update((row["path"], row["index"]))
    for path in store.read("models", ["path"])["path"].to_pylist():
        if path:
            files.add(path)
            folders.add(path.rstrip("/") + "/")
    return files, folders


def _parents(key: str) -> set[str]:
    parts = key.split("/")
    return {"/".join(parts[:length]) + "/" for length in range(1, len(parts))}


def _drop_empty_folders(folder: Path, root: Path) -> None:
    with suppress(OSError):  # until a folder is not empty
        while folder != root:
            folder.rmdir()
            folder = folder.parent
