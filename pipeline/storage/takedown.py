"""Tombstones: videos, addresses and channels that must not be published from now on.

A tombstone holds a keyed hash of what was taken down and not its id, so that a later search recognizes it and nobody
can read it in the table. `pipeline.takedown` records one and then removes everything that the root holds of it. Every
writer reads the tombstones again just before it publishes, so that a request that arrives while a batch is processed
still counts.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal, TypeVar

import pyarrow as pa

from pipeline.errors import UserError
from pipeline.storage.arrow import among, pc
from pipeline.storage.store import Store

Kind = Literal["video", "url", "channel"]
KINDS: tuple[Kind, ...] = ("video", "url", "channel")
_COLUMN: dict[Kind, str] = {"video": "video_id", "url": "url", "channel": "channel_id"}
_BATCH_ROWS = 1 << 16
Made = TypeVar("Made")


@dataclass(frozen=True)
class TakenDown:
    """The tombstones as of one read of the table."""

    version: int
    """Of the table."""
    hashes: Mapping[tuple[Kind, str], frozenset[str]]
    """Kind and salt -> hashes."""
    plain: Mapping[Kind, frozenset[str]]
    """Kind -> ids that an older version recorded in clear."""

    def hides(self, video: str | Mapping[str, Any], channel_id: str | None = None) -> bool:
        """Tell whether a video must not be published.

        Args:
            video: its row of `videos`, or its id.
            channel_id: its channel's id, where `video` is an id.
        """
        if isinstance(video, str):
            return self.names("video", video) or self.names("channel", channel_id)
        return (
            self.names("video", str(video["video_id"]))
            or self.names("channel", video.get("channel_id") or channel_id)
            or self.names("url", video.get("url"))
        )

    def names(self, kind: Kind, name: str | None) -> bool:
        """Tell whether a tombstone of a kind stands for a name."""
        if not name:
            return False
        return name in self.plain.get(kind, ()) or any(
            of == kind and hash_of(salt, kind, name) in known for (of, salt), known in self.hashes.items()
        )

    def hidden_videos(self, store: Store) -> frozenset[str]:
        """Return the ids of all stored videos that must not be published, those of the channels included."""
        if not self.hashes and not any(self.plain.values()):
            return frozenset()
        # readers ask for every batch: a million ids are hashed once for a version of the two tables
        key = (store.root, self.version, store.version("videos"))
        if _hidden.get(store.root, (None, frozenset()))[0] != key:
            _hidden[store.root] = (key, self._hidden_rows(store))
        return _hidden[store.root][1]

    def _hidden_rows(self, store: Store) -> frozenset[str]:
        found = set(self.plain.get("video", ()))
        columns = [_COLUMN[kind] for kind in KINDS if kind == "video" or self._has(kind)]
        for batch in store.scan("videos", columns, batch_rows=_BATCH_ROWS):
            ids = batch.column("video_id")
            for kind in KINDS:
                if self._has(kind):
                    column = batch.column(_COLUMN[kind])
                    mine = ids.filter(among(column, self._named(kind, column.unique().to_pylist())))
                    found.update(str(video_id) for video_id in mine.to_pylist())
        return frozenset(found)

    def hidden_among(self, store: Store, videos: Iterable[str]) -> frozenset[str]:
        """Return those of some videos that must not be published.

        Who has held them for a while asks so: a takedown that ended meanwhile has deleted the rows of `videos`.
        """
        known = self.hidden_videos(store)
        return frozenset(video for video in videos if video in known or self.names("video", video))

    def _named(self, kind: Kind, names: Iterable[str | None]) -> set[str]:
        """Return those of some names that a tombstone of a kind stands for."""
        return {name for name in names if self.names(kind, name) and name is not None}

    def mask(self, store: Store, videos: pa.Table) -> Any:
        """Return which rows of `videos` are hidden, as a numpy mask; None where none can be."""
        hidden = self.hidden_videos(store)
        return among(videos["video_id"], hidden).to_numpy(zero_copy_only=False) if hidden else None

    def _has(self, kind: Kind) -> bool:
        return bool(self.plain.get(kind)) or any(of == kind for of, _ in self.hashes)


_hidden: dict[str, tuple[tuple[str, int, int] | None, frozenset[str]]] = {}


def hash_of(salt: str, kind: Kind, name: str) -> str:
    """Return the keyed hash by which a tombstone stands for a name."""
    keyed = _keyed(salt, kind).copy()
    keyed.update(name.encode("utf-8", "surrogatepass"))
    return keyed.hexdigest()


@cache
def _keyed(salt: str, kind: Kind) -> Any:
    return hashlib.blake2b(f"{kind}\0".encode(), key=bytes.fromhex(salt), digest_size=16)


def stands_for(row: Mapping[str, Any], kind: Kind, name: str | None) -> bool:
    """Tell whether a row of `takedowns` stands for a name."""
    if name is None or row["kind"] != kind:
        return False
    return bool(row["target"] == name or (row["salt"] and hash_of(row["salt"], kind, name) == row["target_hash"]))


def taken_down(store: Store) -> TakenDown:
    """Return the tombstones as committed now."""
    version = store.version("takedowns")
    rows = store.read("takedowns", ["kind", "target", "target_hash", "salt"]).to_pylist()
    hashes: dict[tuple[Kind, str], set[str]] = {}
    for row in rows:
        if row["target_hash"]:
            hashes.setdefault((row["kind"], row["salt"]), set()).add(row["target_hash"])
    return TakenDown(
        version,
        {key: frozenset(found) for key, found in hashes.items()},
        {kind: frozenset(row["target"] for row in rows if row["kind"] == kind and row["target"]) for kind in KINDS},
    )


def repeat_after_takedown(store: Store, make: Callable[[], Made]) -> Made:
    """Return what `make` returns; where a takedown was recorded while it ran, call it again."""
    while True:
        version = store.version("takedowns")
        made = make()
        if store.version("takedowns") == version:
            return made


def request_takedown(store: Store, kind: str, target: str, reason: str) -> bool:
    """Record a takedown; return False if it was recorded before.

    Args:
        store: the store.
        kind: `video`, `url` or `channel`.
        target: a video's id or URL, or a channel's id. An unknown one is recorded too, so that it stays out if a later
            search finds it.
        reason: who asked and why, for readers of the table.

    Raises:
        UserError: the kind is unknown, or the target or the reason is empty.
    """
    if kind not in KINDS:
        raise UserError(f"takedown kind {kind!r} is unknown; choose one of: {', '.join(KINDS)}")
    target, reason = target.strip(), reason.strip()
    if not target or not reason:
        raise UserError(f"takedown of a {kind} needs a target and a reason; got target {target!r}, reason {reason!r}")
    chosen: Kind = "url" if kind == "video" and "://" in target else kind
    if chosen == "url":
        known = store.read("videos", ["video_id"], pc.field("url") == target)["video_id"].to_pylist()
        chosen, target = ("video", str(known[0])) if known else ("url", target)
    return bool(record_tombstones(store, [(chosen, target)], reason))


def record_tombstones(
    store: Store, names: Iterable[tuple[Kind, str]], reason: str, part_of: str | None = None
) -> list[str]:
    """Record tombstones in one commit, those that are not there yet; return their `takedown_id`s.

    Args:
        store: the store.
        names: kind and name of each.
        reason: for readers of the table; it must not repeat the names.
        part_of: `takedown_id` of the takedown that they belong to, where that is another.
    """
    now, hidden, salt = datetime.now(UTC), taken_down(store), salt_of(store)
    rows = [
        {
            "takedown_id": str(uuid.uuid4()),
            "kind": kind,
            "target_hash": hash_of(salt, kind, name),
            "salt": salt,
            "part_of": part_of,
            "reason": reason,
            "requested_at": now,
        }
        for kind, name in dict.fromkeys(names)
        if not hidden.names(kind, name)
    ]
    store.append("takedowns", rows)
    return [str(row["takedown_id"]) for row in rows]


def salt_of(store: Store) -> str:
    """Return the key of a store's tombstones, 32 hex digits; a new one where it has none yet."""
    # in the rows themselves: a file of its own could be lost, and every tombstone with it
    known = [salt for salt in store.read("takedowns", ["salt"])["salt"].to_pylist() if salt]
    return str(min(known)) if known else secrets.token_hex(16)
