"""Take a video or a channel down: everything that the root and this home hold of it goes, at once.

    receipt = take_down(job, find_target(store, "https://youtu.be/dQw4w9WgXcQ"), "asked by its owner")

The tombstone comes first: from then on no writer publishes anything of it. Then shards, media, pictures, the home,
rows, and at last the rows of `videos`, by which a takedown that was killed finds the rest. Every step looks for what
is there, so the same call again finishes one that was killed, and does nothing after one that finished.
"""

from __future__ import annotations

import fcntl
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.arcade.removal import files_of_recordings, remove_recordings
from pipeline.job import Job
from pipeline.progress import notify
from pipeline.storage.arrow import pc
from pipeline.storage.home import Home
from pipeline.storage.owner import sweep_scratch
from pipeline.storage.store import Store
from pipeline.storage.takedown import record_tombstones, stands_for
from pipeline.takedown import blobs, home, leftover, packed, pictures, rows, seen, shards, tokens
from pipeline.takedown.mentions import MARK, Mentions, mentions_of
from pipeline.takedown.receipt import Receipt, read_receipt, write_receipt
from pipeline.takedown.targets import COLUMNS, Target


def mentions_in(store: Store, target: Target) -> Mentions:
    """Return what names the videos of a target, as far as the store knows it."""
    ids = {name for kind, name in target.names if kind == "video"}
    urls = {name for kind, name in target.names if kind == "url"}
    others = (
        row for batch in store.scan("videos", list(COLUMNS)) for row in batch.to_pylist() if row["video_id"] not in ids
    )
    found = mentions_of(target.videos, others)
    channels = {name for kind, name in target.names if kind == "channel" and len(name) >= 8}
    return Mentions(found.videos | ids, found.natives, found.urls | urls, found.titles | channels)


def take_down(job: Job, target: Target, reason: str) -> Receipt:
    """Remove a video or a channel, and return the receipt.

    Args:
        job: the store, the configuration by which shards are planned, and the home; progress is told.
        target: as `find_target` returned it. One that nothing is known of gets its tombstone all the same.
        reason: who asked, and when; names in it are taken out.
    """
    store = job.store
    mentions = mentions_in(store, target)
    # before any other takedown is waited for: from now on nothing of it is published
    receipt = _begun(store, target, mentions.taken_out(reason, titles=True) or MARK)
    with _alone(job.home):
        _Run(job, target, mentions, receipt).everything()
    return receipt


@contextmanager
def _alone(place: Home) -> Iterator[None]:
    """Hold the home's lock of takedowns: two at once would each publish shards without the other's changes."""
    place.folder.mkdir(parents=True, exist_ok=True)
    with (place.folder / "takedown.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _begun(store: Store, target: Target, reason: str) -> Receipt:
    """Record the tombstones, and return the receipt: that of an earlier run where there is one."""
    kind, name = target.names[0]
    record_tombstones(store, target.names[:1], reason)
    (row, *_) = [row for row in store.read("takedowns").to_pylist() if stands_for(row, kind, name)]
    record_tombstones(store, target.names[1:], reason, part_of=row["takedown_id"])
    takedown_id = str(row["takedown_id"])
    known = read_receipt(store, takedown_id)
    if known is not None:
        return known
    receipt = Receipt(takedown_id, kind, row["requested_at"].isoformat())
    write_receipt(store, receipt)
    return receipt


@dataclass
class _Run:
    """One run of a takedown."""

    job: Job
    target: Target
    mentions: Mentions
    receipt: Receipt

    def everything(self) -> None:
        """Take every step, and write the receipt after each."""
        steps: Sequence[tuple[str, Callable[[], None]]] = (
            ("what had seen it", self._seen),
            ("shards", self._shards),
            ("tokens", self._tokens),
            ("raw files and clips", self._media),
            ("pictures and pages", self._pictures),
            ("files of the home", self._home),
            ("rows", self._rows),
            ("rows of videos", self._videos),
            ("what is left", self._left),
        )
        for name, step in steps:
            notify(f"takedown: {name}", self.job.on_progress)
            step()
            write_receipt(self.job.store, self.receipt)
        self.job.store.forget_gone_checksums()  # of the receipts before the last one, too

    def _seen(self) -> None:
        store = self.job.store
        held = shards.versions_with(store, self.mentions)
        for version, splits in held.items():
            known = self.receipt.shard_versions.get(version, [])
            self.receipt.shard_versions[version] = sorted({*known, *splits})
        found = seen.models_that_saw(store, self.mentions, self.receipt.shard_versions, shards.known_versions(store))
        self.receipt.add_models(found)

    def _shards(self) -> None:
        taken = shards.take_out_of_shards(self.job.store, self.job.config, self.mentions)
        self.receipt.samples += taken.samples
        self.receipt.tars_rewritten += taken.rewritten
        self.receipt.shards_before = self.receipt.shards_before or taken.before
        self.receipt.shards_after = taken.after
        self._count("shards", taken.deleted, taken.bytes)

    def _tokens(self) -> None:
        removed = tokens.take_out_of_tokens(self.job.store, self.mentions)
        self.receipt.token_clips += removed.clips
        self._count("tokens", removed.deleted)

    def _media(self) -> None:
        store = self.job.store
        # a video that is known by its id alone may lie in any batch
        batches = {str(row["batch"]) for row in self.target.videos if row["batch"]} if self.target.is_known else None
        self._delete(blobs.media_of(store, self.mentions, batches))
        self._delete(blobs.set_aside_of(store, self.mentions))
        for folder in ("raw", "clips"):
            for batch in {key.rpartition("/")[0] for key in store.list_blobs(folder)}:
                store.sweep_unfinished(batch)
        for path in blobs.scratch_of(self.job.home, self.mentions):
            path.unlink(missing_ok=True)
        sweep_scratch(self.job.home.tmp)

    def _pictures(self) -> None:
        store = self.job.store
        held = {folder: store.list_blobs(folder) for folder in packed.packed_with(store, self.mentions)}
        removed = packed.delete_packed(store, self.mentions)
        self.receipt.packed = sorted({*self.receipt.packed, *removed})
        self._count("models", [key for folder in removed for key in held.get(folder, [])])
        touched = pictures.take_out_of_models(store, self.mentions)
        gone = [key for key in touched if not store.exists(key)]
        self._count("models", gone)
        queue = pictures.take_out_of_queue(store, self.mentions)
        self.receipt.documents += len(touched) - len(gone) + len(queue)
        pages = pictures.delete_pages(store, self.mentions)
        self.receipt.pages = sorted({*self.receipt.pages, *pages})
        self._count("reports", pages)
        store.forget_gone_checksums()

    def _home(self) -> None:
        taken = home.take_out_of_home(self.job.home, self.mentions)
        self.receipt.label_events += taken.events
        self.receipt.home_files += len(taken.files) + bool(taken.lines)
        recordings = remove_recordings(self.job.home.arcade, home.recordings_of(self.mentions))
        self.receipt.recordings += len(recordings)

    def _rows(self) -> None:
        store = self.job.store
        deleted = Counter(self.receipt.rows)
        cleaned = rows.clean_tables(store, self.mentions)
        deleted.update(cleaned.deleted)
        self.receipt.rows = dict(deleted)
        self.receipt.rows_changed += cleaned.changed

    def _videos(self) -> None:
        store = self.job.store
        if self.target.is_known:
            self._count_as_removed()
            deleted = rows.delete_videos(store, self.mentions)
            self.receipt.videos += deleted
            self.receipt.rows["videos"] = self.receipt.rows.get("videos", 0) + deleted
        rows.purge_last(store, self.mentions)

    def _count_as_removed(self) -> None:
        """Note on each tombstone that a row of `videos` goes: the searches have counted it."""
        store = self.job.store
        present = [str(row["video_id"]) for row in self.target.videos]
        stones = store.read("takedowns", None, pc.field("kind") == "video").to_pylist()
        mine = [row for row in stones if not row["removed"] and any(stands_for(row, "video", one) for one in present)]
        store.merge("takedowns", [{**row, "removed": 1} for row in mine], on=["takedown_id"])

    def _left(self) -> None:
        found = leftover.find_leftovers(self.job.store, self.job.home, self.mentions)
        self.receipt.left = found.left
        self.receipt.out_of_reach = found.out_of_reach
        self.receipt.finished = not found.left

    def _delete(self, sizes: Mapping[str, int]) -> None:
        """Delete blobs, of which the listing told the bytes."""
        self.job.store.delete_all(sizes)
        for key, size in sizes.items():
            self._count(key.partition("/")[0], [key], size)

    def _count(self, folder: str, keys: Collection[str], size: int = 0) -> None:
        if keys:
            self.receipt.blobs[folder] = self.receipt.blobs.get(folder, 0) + len(keys)
            self.receipt.bytes += size


def plan_takedown(job: Job, target: Target) -> dict[str, object]:
    """Return what a takedown would delete, without writing anything."""
    store, mentions = job.store, mentions_in(job.store, target)
    batches = {str(row["batch"]) for row in target.videos if row["batch"]} if target.is_known else None
    media = [*blobs.media_of(store, mentions, batches), *blobs.set_aside_of(store, mentions)]
    held = shards.versions_with(store, mentions)
    known = seen.models_that_saw(store, mentions, held, shards.known_versions(store))
    taken = home.take_out_of_home(job.home, mentions, dry_run=True)
    scratch = blobs.scratch_of(job.home, mentions)
    recordings: list[Path] = files_of_recordings(job.home.arcade, home.recordings_of(mentions))
    return {
        "kind": target.kind,
        "videos": len(target.videos),
        "rows": rows.count_rows(store, mentions),
        "blobs": media,
        "shard_versions": held,
        "models": [one.model_id for one in known.seen],
        "label_events": taken.events,
        "home_files": [str(path) for path in (*taken.files, *scratch, *recordings)],
        "pages": pictures.pages_that_show(store, mentions),
        "packed": packed.packed_with(store, mentions),
    }
