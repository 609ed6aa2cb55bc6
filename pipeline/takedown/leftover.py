"""Look through what a takedown leaves: every name of a blob, every text, every database of the home.

Media are not read: tars and raw files are known by their names, indexes and rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.storage.home import Home
from pipeline.storage.store import Store
from pipeline.takedown import blobs, home, pictures
from pipeline.takedown.mentions import Mentions
from pipeline.takedown.rows import count_rows
from pipeline.takedown.shards import published_with

_TEXTS = (".json", ".jsonl", ".html", ".csv", ".yaml", ".txt", ".md", ".svg")
_OTHERS_FILES = ("tables", "raw", "clips", "shards", "dagster", "arcade", "tmp")
"""Folders that the steps themselves look through, or that are not the store's."""


@dataclass
class Leftovers:
    """What is left of some videos."""

    left: list[str] = field(default_factory=list)
    """Places that name them, each with what to do."""
    out_of_reach: list[str] = field(default_factory=list)
    """What no command of this root reaches."""


def find_leftovers(store: Store, place: Home, mentions: Mentions) -> Leftovers:
    """Return the places that still name the videos, and what cannot be reached."""
    found = Leftovers()
    for table, count in count_rows(store, mentions).items():
        found.left.append(f"table {table} has {count} rows of it again, written meanwhile: run the same command again")
    for key in blobs.media_of(store, mentions):
        found.left.append(f"{key} was written meanwhile: run the same command again")
    for key in published_with(store, mentions):
        found.left.append(f"{key} was published meanwhile and holds a clip of it: run the same command again")
    for key in _texts_of(store, mentions):
        found.left.append(f"{key} still names it: run the same command again")
    for key in pictures.checkpoints_that_name(store, mentions):
        found.left.append(f"{key} names it: `lampworks gc --checkpoints` deletes it")
    taken = home.take_out_of_home(place, mentions, dry_run=True)
    for path in (*taken.files, *taken.locked, *([place.journal] if taken.events else [])):
        found.left.append(
            f"{path} is in use and still names it: close what has it open, and run the same command again"
        )
    found.out_of_reach = list(_out_of_reach(store, place, mentions))
    return found


def _texts_of(store: Store, mentions: Mentions) -> Iterator[str]:
    """Yield the keys of blobs that name the videos in their name or their text."""
    for folder in store.list_folders(""):
        if folder in _OTHERS_FILES:
            continue
        for key in store.list_blobs(folder):
            if "/checkpoints/" in key:
                continue
            named = mentions.in_text(key.rsplit("/", 1)[-1])
            if named or (key.endswith(_TEXTS) and mentions.in_text(store.read_blob(key).decode("utf-8", "replace"))):
                yield key


def _out_of_reach(store: Store, place: Home, mentions: Mentions) -> Iterator[str]:
    yield (
        "exports (`lampworks export`), packed worlds and copies of the root that were made before: delete them where "
        "they are"
    )
    yield "homes and Dagster logs of this root on other machines: run the same command there"
    unfinished = blobs.unfinished_files(store)
    if unfinished:
        yield (
            f"{len(unfinished)} unfinished files of processes that may be at work ({unfinished[0]}, ...): they are not "
            "published; `lampworks gc` deletes them once nothing runs"
        )
    config = place.folder / "config.yaml"
    if config.is_file() and mentions.in_text(config.read_text("utf-8", "replace")):
        yield f"{config} names it: the source or the rules that you set; change them with `lampworks run --source`"
    if not store.is_local:
        yield from _versions_of_bucket(store)


def _versions_of_bucket(store: Store) -> Iterator[str]:
    state = store.bucket_versioning()
    if state is None:
        yield f"whether {store.root} keeps older versions of objects could not be asked: look in the bucket's settings"
    elif state:
        yield (
            f"the bucket of {store.root} keeps older versions of deleted objects (versioning is {state}): delete them "
            "with a lifecycle rule for noncurrent versions"
        )
