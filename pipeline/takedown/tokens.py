"""Take clips out of the token shards: affected files are written again, and what no row names goes."""

from __future__ import annotations

from pipeline.storage.store import Store
from pipeline.takedown.mentions import Mentions
from pipeline.takedown.shards import read_ids
from pipeline.tokens.files import FOLDER
from pipeline.tokens.removal import RemovedTokens, remove_videos

_INDEX = ".index.parquet"


def take_out_of_tokens(store: Store, mentions: Mentions) -> RemovedTokens:
    """Publish the token shards without the videos; delete older files that hold tokens of them."""
    removed = remove_videos(store, mentions.videos)
    named = set(store.read("tokens", ["index"])["index"].to_pylist())
    swept = []
    for key in store.list_blobs(FOLDER):
        if not key.endswith(_INDEX) or key in named:
            continue
        clips = read_ids(store, key)
        # one that cannot be read may name them
        if clips is None or any(mentions.has_clip(clip_id) for clip_id in clips):
            # the index last: it is what the tar is known by
            for gone in (f"{key.removesuffix(_INDEX)}.tar", key):
                store.delete(gone)
                swept.append(gone)
    return RemovedTokens(removed.clips, (*removed.deleted, *swept), removed.written)
