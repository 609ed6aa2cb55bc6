"""Take clips out of what shows or lists them: pictures of evaluations, pages, sheets, JSON beside models, the queue.

A page is deleted whole, and its command makes it again; of an evaluation the pictures go that show such a clip, and its
figures stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pipeline.model_ids import EVALUATION
from pipeline.storage.models_table import (
    ModelRecord,
    files_without_hash,
    forget_files,
    replace_model,
    sound_models,
)
from pipeline.storage.store import Store
from pipeline.takedown.mentions import Mentions, without_mentions

_ABOUT = "pictures.json"
_PICTURES = (".png", ".gif", ".jpg", ".jpeg", ".webp", ".mp4")
_TEXTS = (".json", ".html", ".jsonl", ".csv", ".md", ".txt", ".svg")
_REPORTS = "reports"


def take_out_of_models(store: Store, mentions: Mentions) -> list[str]:
    """Delete pictures of evaluations that show the videos, take these out of models' JSON; return the keys touched."""
    touched = []
    for record in sound_models(store)[0]:
        pictures = _pictures(store, record, mentions)
        own = [*pictures, *_naming(store, record.path, mentions)]
        if own:
            # the row has the hash of each file: first it forgets those that change, so that a kill leaves no wrong one
            forget_files(store, record, {key.rpartition("/")[2] for key in own})
            for key in pictures:
                store.delete(key)
            _documents(store, record.path, mentions)
            touched += own
        if own or files_without_hash(store, record):
            replace_model(store, record)
    # what no row names, of trainings that are not finished and of models that were replaced
    touched += _documents(store, "models", mentions)
    return sorted(set(touched))


def _pictures(store: Store, record: ModelRecord, mentions: Mentions) -> list[str]:
    """Return the keys of the pictures of an evaluation that show one of the videos."""
    if record.kind != EVALUATION or not record.path:
        return []
    key = f"{record.path}/{_ABOUT}"
    files = [name for name in store.list_blobs(record.path) if name.endswith(_PICTURES)]
    try:
        about = json.loads(store.read_blob(key))
        shown = list(_shown(about, mentions))
    except (FileNotFoundError, ValueError, AttributeError, TypeError, KeyError, RecursionError):
        # pictures that nothing describes may show any video
        shown = [name.rsplit("/", 1)[-1] for name in files]
    return [name for name in files if name.rsplit("/", 1)[-1] in shown]


def _shown(about: dict[str, Any], mentions: Mentions) -> Iterator[str]:
    """Yield the names of the files that show one of the videos; the entries of these are emptied."""
    for name in ("contact_sheet", "rollouts"):
        entry = about.get(name, {})
        if any(mentions.has_clip(str(clip)) for clip in entry.get("clips", [])):
            # older evaluations did not say which files
            yield from entry.get("files") or [entry.get("file") or "contact-sheet.png"]
            if name == "rollouts":
                yield from ("rollouts.png", "rollouts.gif")
    for start in about.get("start_frames", []):
        if mentions.has_clip(str(start["clip_id"])):
            yield str(start["file"])


def _documents(store: Store, folder: str, mentions: Mentions) -> list[str]:
    """Take the videos out of the JSON files of a folder, and return the keys of those that named them."""
    touched = _naming(store, folder, mentions)
    for key in touched:
        _write_without(store, key, store.read_blob(key).decode("utf-8", "replace"), mentions)
    return touched


def _naming(store: Store, folder: str, mentions: Mentions) -> list[str]:
    """Return the keys of the JSON files of a folder that name the videos; checkpoints are left out."""
    keys = [key for key in store.list_blobs(folder) if key.endswith(".json")] if folder else []
    keys = [key for key in keys if "/checkpoints/" not in key]
    return [key for key in keys if mentions.in_text(store.read_blob(key).decode("utf-8", "replace"))]


def _write_without(store: Store, key: str, text: str, mentions: Mentions) -> None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        store.write_blob(key, mentions.taken_out(text).encode())  # damaged before: no reader reads it
        return
    store.write_blob(key, json.dumps(without_mentions(value, mentions), sort_keys=True, indent=1).encode())


def checkpoints_that_name(store: Store, mentions: Mentions) -> list[str]:
    """Return the keys of JSON files of checkpoints that name the videos: they are sealed, and go as a whole."""
    keys = [key for key in store.list_blobs("models") if "/checkpoints/" in key and key.endswith(".json")]
    return [key for key in keys if mentions.in_text(store.read_blob(key).decode("utf-8", "replace"))]


def take_out_of_queue(store: Store, mentions: Mentions) -> list[str]:
    """Take the clips out of the labelling queue and whatever else lies in its folder; return the keys touched."""
    return _documents(store, "labels", mentions)


def delete_pages(store: Store, mentions: Mentions) -> list[str]:
    """Delete the pages and sheets that show or name the videos, with the files beside them; return their keys."""
    stale = pages_that_show(store, mentions)
    # the page first: what is beside it tells what it shows
    for key in sorted(stale, key=lambda key: (key.endswith(".json"), key)):
        store.delete(key)
    return stale


def pages_that_show(store: Store, mentions: Mentions) -> list[str]:
    """Return the keys of the pages and sheets that show or name the videos, with the files beside them."""
    groups: dict[str, list[str]] = {}
    for key in store.list_blobs(_REPORTS):
        groups.setdefault(_page_of(key), []).append(key)
    stale = []
    for keys in groups.values():
        described = [key for key in keys if key.endswith(_TEXTS)]
        # a picture that nothing describes may show any video
        if not described or any(_names(store, key, mentions) for key in described):
            stale += keys
    return sorted(stale)


def _page_of(key: str) -> str:
    """Return what the files of one page have in common: their folder, or their name without its ending."""
    folder, _, name = key.rpartition("/")
    return folder if name in {"index.html", "clips.json"} else f"{folder}/{name.partition('.')[0]}"


def _names(store: Store, key: str, mentions: Mentions) -> bool:
    text = store.read_blob(key).decode("utf-8", "replace")
    if mentions.in_text(text, titles=True):
        return True
    try:
        # a sheet whose list of videos is lost may show any of them
        return key.endswith(".json") and json.loads(text) is None
    except (ValueError, RecursionError):
        return True
