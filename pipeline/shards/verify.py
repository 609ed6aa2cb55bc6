"""Verify a set: every byte of its tars, indexes and data card against the manifest, and that against the rows.

    found = verify_shards(store)
    for damage in found.damaged:
        print(damage.key, damage.why, damage.samples)

Everything is read once, in pieces, one sample in memory at a time; nothing is copied out of an object store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline.errors import UserError
from pipeline.progress import Progress, ProgressCallback
from pipeline.shards.actions import read_shard_actions
from pipeline.shards.index import read_index
from pipeline.shards.manifest import LISTED, LISTED_WITH_ACTIONS
from pipeline.shards.read import current_shards, manifest_key, shard_rows
from pipeline.shards.sample import restore_advice
from pipeline.shards.splits import SPLITS
from pipeline.shards.verify_tar import tar_problem
from pipeline.storage.damage import DamagedError
from pipeline.storage.json_blob import read_json
from pipeline.storage.store import Store

_ROWS = "tables/shards"


@dataclass(frozen=True)
class ShardDamage:
    """A blob of a set that is not what was written."""

    key: str
    """Relative to the root."""
    why: str
    samples: tuple[str, ...] = ()
    """Clip ids of the samples that are damaged or missing, as far as they are known."""


@dataclass
class VerifiedShards:
    """What the verification of a set found."""

    version: str
    published: bool
    """Whether it is the set that trainings read."""
    tars: int = 0
    samples: dict[str, int] = field(default_factory=dict)
    """By split, as the manifest counts them."""
    bytes: int = 0
    """Of the tars, as the manifest counts them."""
    damaged: list[ShardDamage] = field(default_factory=list)


def verify_shards(
    store: Store, version: str | None = None, on_progress: ProgressCallback | None = None
) -> VerifiedShards:
    """Read every byte of a set, and return what is damaged.

    Args:
        store: the store.
        version: of the set, or the unique start of one; the published one where None.
        on_progress: called with lines of progress.

    Raises:
        UserError: there is no such set.
    """
    published = current_shards(store)
    chosen = _chosen(store, version, published)
    found = VerifiedShards(chosen, chosen == published)
    rows = shard_rows(store, chosen) if found.published else []
    listed = _listed(store, found, rows)
    found.tars, found.bytes = len(listed), sum(_count(shard, "bytes") for shard in listed)
    for split in SPLITS:
        found.samples[split] = sum(_count(shard, "samples") for shard in listed if shard["split"] == split)
    with Progress("verify shards", total=len(listed), unit="tars", on_progress=on_progress) as progress:
        for shard in listed:
            found.damaged += _of_shard(store, shard)
            progress.advance(note=str(shard["path"]))
    return found


def _chosen(store: Store, version: str | None, published: str | None) -> str:
    known = sorted({key.split("/")[1] for key in store.list_blobs("shards") if key.endswith("/manifest.json")})
    if version is None:
        if published is None:
            raise UserError(f"{store.root} has no training shards yet: materialize training_shards (`lampworks run`).")
        return published
    matching = [one for one in {*known, *([published] if published else [])} if one.startswith(version) and version]
    if len(matching) == 1 or version in matching:
        return version if version in matching else matching[0]
    if matching:
        raise UserError(f"shards {version!r}: several begin with it ({', '.join(sorted(matching))}): give more of one.")
    there = ", ".join(known) if known else "none"
    raise UserError(f"no shards have a version that begins with {version!r}: there are {there}.")


def _listed(store: Store, found: VerifiedShards, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the shards of the manifest, compared with the rows; the rows where the manifest cannot be read."""
    key = manifest_key(found.version)
    try:
        manifest = read_json(store, key, restore_advice(found.version))
    except DamagedError as exc:
        found.damaged.append(ShardDamage(key, _without_root(store, exc)))
        return list(rows)
    shards, cards = manifest.get("shards"), manifest.get("cards", [])
    if not isinstance(cards, list) or not all(isinstance(card, dict) for card in cards):
        found.damaged.append(ShardDamage(key, "lists no data card"))
        cards = []
    if not isinstance(shards, list) or not all(_is_entry(shard) for shard in shards):
        found.damaged.append(ShardDamage(key, "lists no shards"))
        return list(rows)
    if manifest.get("version") != found.version:
        found.damaged.append(ShardDamage(key, f"is of version {manifest.get('version')!r}"))
    if found.published:
        found.damaged += _disagreements(key, shards, rows)
    for card in cards:
        path, size, sha256 = (card.get(name) for name in ("path", "bytes", "sha256"))
        if (why := _other_bytes(store, str(path), size, sha256)) is not None:
            found.damaged.append(ShardDamage(str(path), why))
    return shards


def _is_entry(shard: object) -> bool:
    if not isinstance(shard, dict):
        return False
    texts = all(isinstance(shard.get(name), str) for name in ("split", "path", "sha256"))
    return texts and all(type(shard.get(name)) is int for name in ("samples", "bytes"))


def _disagreements(
    key: str, shards: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> Iterator[ShardDamage]:
    """Yield in what the manifest and the rows of `shards` do not agree."""
    by_path = {row["path"]: row for row in rows}
    for shard in shards:
        row = by_path.pop(shard["path"], None)
        if row is None:
            yield ShardDamage(_ROWS, f"has no row of {shard['path']}, which {key} lists")
            continue
        names = [name for name in (*LISTED, *LISTED_WITH_ACTIONS) if shard.get(name) != row[name]]
        if names:
            yield ShardDamage(key, f"says another {' and '.join(names)} of {shard['path']} than the row of the table")
    for path in by_path:
        yield ShardDamage(key, f"does not list {path}, which has a row")


def _of_shard(store: Store, shard: Mapping[str, Any]) -> Iterator[ShardDamage]:
    """Yield what is damaged of a tar and its index."""
    index: pa.Table | None = None
    if shard.get("index"):
        try:
            index = read_index(store, shard)
        except UserError as exc:  # a key outside of the root, too
            yield ShardDamage(str(shard["index"]), _without_root(store, exc))
    try:
        read_shard_actions(store, shard)
    except UserError as exc:
        yield ShardDamage(str(shard["actions"]), _without_root(store, exc))
    problem = tar_problem(store, shard, index)
    if problem is not None:
        yield ShardDamage(str(shard["path"]), problem.why, problem.samples)


def _other_bytes(store: Store, key: str, size: object, sha256: object) -> str | None:
    """Return in what a blob is not what the manifest says; None where it is."""
    try:
        if store.size(key) != size:
            return f"has {store.size(key)} bytes instead of {size}"
        return None if store.sha256(key) == sha256 else "has another SHA-256 than the manifest says"
    except (FileNotFoundError, UserError):
        return "is not there"


def _count(shard: Mapping[str, Any], name: str) -> int:
    value = shard.get(name)
    return value if isinstance(value, int) else 0


def _without_root(store: Store, error: UserError) -> str:
    """Return what an error says of a blob, without the blob's address before it and the advice behind it."""
    text = str(error).removeprefix(f"{store.root}/").partition(" ")[2]
    return text.partition(". Delete the folder")[0]
