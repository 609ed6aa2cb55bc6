"""Find the videos of a folder that were fetched without the true actions that lie beside them now."""

from __future__ import annotations

from pipeline.config import Config
from pipeline.sources.actions import LEFT_OUT, lie_beside
from pipeline.sources.folder import FolderSource
from pipeline.storage.arrow import among, pc
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

_FETCHED = ("ok", "dropped")


def dropped_actions(store: Store, config: Config) -> list[str]:
    """Return the ids of videos that were fetched, whose actions nobody looked at, and that have a sidecar now.

    A sidecar that was kept, or left out with a reason, was looked at: `lampworks retry --class bad_actions` is for the
    latter. Nothing of another source than a folder, or where `download.actions` is not `keep`.
    """
    if config.download.actions != "keep" or config.source.kind != "folder":
        return []
    columns = ["video_id", "state", "message", "actions_sha256", "finished_at"]
    rows = store.read("downloads", columns).sort_by("finished_at")
    said = pc.starts_with(pc.fill_null(rows["message"], ""), LEFT_OUT)
    rows = rows.append_column("seen", pc.or_(pc.is_valid(rows["actions_sha256"]), said))
    last = rows.group_by("video_id", use_threads=False).aggregate([("state", "last"), ("seen", "max")])
    waiting = last.filter(pc.and_(among(last["state_last"], _FETCHED), pc.invert(last["seen_max"])))["video_id"]
    source = FolderSource(config.source.argument, store.storage_options)
    names = {f"{source.folder}/{key}" for key in source.store.stat_blobs("")} if source.store else None
    videos = store.read("videos", ["video_id", "url"], pc.field("source") == "folder")
    videos = videos.filter(among(videos["video_id"], waiting.combine_chunks()))
    hidden = taken_down(store).hidden_videos(store)
    return sorted(
        row["video_id"]
        for row in videos.to_pylist()
        if row["video_id"] not in hidden and lie_beside(row["url"], source.folder, names)
    )
