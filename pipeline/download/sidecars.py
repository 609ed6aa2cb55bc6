"""The sidecars of true actions that were kept beside raw files, as they were when they were fetched."""

from __future__ import annotations

from pipeline.storage.arrow import pc
from pipeline.storage.store import Store


def kept_sidecars(store: Store, batch: str | None = None) -> dict[str, str]:
    """Return key of the raw file -> SHA-256 of its sidecar, by the latest attempt; those of older versions are absent.

    Args:
        store: the store.
        batch: the batch; None means all.
    """
    where = pc.field("state") == "ok"
    if batch is not None:
        where &= pc.field("batch") == batch
    rows = store.read("downloads", ["path", "actions_sha256", "finished_at"], where).sort_by("finished_at")
    latest = dict(zip(rows["path"].to_pylist(), rows["actions_sha256"].to_pylist(), strict=True))
    return {path: sha256 for path, sha256 in latest.items() if path and sha256}
