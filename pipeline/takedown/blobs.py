"""Delete the media of videos: raw files, clip tars, what `lampworks doctor --mend` set aside, scratch files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from pipeline.storage.home import Home
from pipeline.storage.mend_tables import ASIDE
from pipeline.storage.owner import LOCK, UNFINISHED, dead_scratch_folders, files_below
from pipeline.storage.store import Store
from pipeline.takedown.mentions import Mentions

_PART = re.compile(r"[^/.]+")


def media_of(store: Store, mentions: Mentions, batches: Collection[str] | None = None) -> dict[str, int]:
    """Return the keys of the raw files and clip tars of the videos, of every clip_spec, with their bytes.

    Args:
        store: the store.
        mentions: the videos.
        batches: those that they are in; None looks through all.
    """
    return {
        key: about.size
        for folder in _folders(store, batches)
        for key, about in store.stat_blobs(folder).items()
        if _names(key, mentions)
    }


def unfinished_files(store: Store, batches: Collection[str] | None = None) -> list[str]:
    """Return the keys of unfinished files among raw files and clip tars: nothing says which video they are of."""
    return [
        key
        for folder in _folders(store, batches)
        for key in store.list_blobs(folder)
        if key.rsplit("/", 1)[-1].startswith(UNFINISHED)
    ]


def _folders(store: Store, batches: Collection[str] | None) -> Iterator[str]:
    if batches is None:
        yield from ("raw", "clips")
        return
    specs = store.list_folders("clips")
    for batch in sorted(batches):
        yield f"raw/{batch}"
        yield from (f"clips/{spec}/{batch}" for spec in specs)


def _names(key: str, mentions: Mentions) -> bool:
    """Tell whether the last part of a key names one of the videos."""
    return any(mentions.is_word(match[0]) for match in _PART.finditer(key.rsplit("/", 1)[-1]))


def set_aside_of(store: Store, mentions: Mentions) -> dict[str, int]:
    """Return the keys of files that a mending set aside and that hold something of the videos, with their bytes."""
    return {
        key: about.size
        for key, about in store.stat_blobs(ASIDE).items()
        if _names(key, mentions) or _holds(store, key, mentions)
    }


def _holds(store: Store, key: str, mentions: Mentions) -> bool:
    """Tell whether a file that was set aside names one of the videos; one that cannot be read may do."""
    if key.endswith(".parquet"):
        texts = list(store.texts_of_stray(key))
        return not texts or any(mentions.in_text(text) for text in texts)
    if key.endswith((".jpg", ".png")):
        return True  # nothing says any more what it shows, and it was damaged
    if key.endswith((".mp4", ".webm", ".mkv", ".safetensors")):
        return False
    return mentions.in_text(store.read_blob(key).decode("latin-1"))


def scratch_of(home: Home, mentions: Mentions) -> list[Path]:
    """Return the files in the home's scratch space that belong to processes that are gone, or name one of the videos.

    An attempt that is at work deletes its own files: it finds the tombstone before it publishes.
    """
    found = [path for folder in dead_scratch_folders(home.tmp) for path in files_below(folder) if path.name != LOCK]
    named = [path for path in files_below(home.tmp) if _names(path.name, mentions)]
    return sorted({*found, *named})
