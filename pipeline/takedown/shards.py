"""Take clips out of the training shards: affected tars get a next generation, the others stay as they are.

    shards/<version>/train/clips-000000.tar        ->  shards/<version>/train/clips-000000.g2.tar
    shards/<version>/train/clips-000000.index.parquet   keeps what else the tar held: which model saw what is read there

A next generation has the samples of the one before without those clips, byte for byte. The set gets a new version,
because it holds other samples: the version that a plan of the same decision has, so that the next pass finds it
current. Trainings of the version before are those of other shards.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline.actions.table import SUFFIX, read_table
from pipeline.clips.tar import TarWriter
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.shards.actions import clips_of, without_clips
from pipeline.shards.card import card_facts
from pipeline.shards.index import index_bytes, index_key, read_shard, write_index
from pipeline.shards.manifest import delete_other_cards, listed, write_manifest
from pipeline.shards.plan import Plan, plan_shards, shard_inputs
from pipeline.shards.read import current_shards, manifest_key
from pipeline.shards.sample import DamagedSample
from pipeline.shards.splits import SPLITS
from pipeline.storage.arrow import parquet_table, pc, texts
from pipeline.storage.damage import DamagedError
from pipeline.storage.store import Store
from pipeline.takedown.mentions import Mentions, without_mentions

_LOGGER = logging.getLogger(__name__)
_GENERATION = re.compile(r"\.g(\d+)\.tar\Z")
_MANIFEST = re.compile(r"shards/([^/]+)/manifest\.json")


@dataclass
class ShardsTaken:
    """What was taken out of the shards."""

    before: str | None = None
    """The version that was published."""
    after: str | None = None
    """The version that is published now."""
    rewritten: list[str] = field(default_factory=list)
    """Keys of the tars that replace others."""
    deleted: list[str] = field(default_factory=list)
    """Keys of the tars that went."""
    bytes: int = 0
    """Of the tars that went."""
    samples: int = 0
    """Samples that went."""


def versions_with(store: Store, mentions: Mentions) -> dict[str, list[str]]:
    """Return the versions of the set that held clips of the videos, published or replaced: version -> splits.

    Known of every version whose manifest is there: `lampworks gc` keeps those that a model names.
    """
    holding: dict[str, bool] = {}
    found: dict[str, set[str]] = {}
    for version, shards in _manifests(store).items():
        for shard in shards:
            path = str(shard["path"])
            if path not in holding:
                holding[path] = bool(_clips_in(store, shard, mentions))
            if holding[path]:
                found.setdefault(version, set()).add(str(shard["split"]))
    return {version: sorted(splits) for version, splits in sorted(found.items())}


def published_with(store: Store, mentions: Mentions) -> list[str]:
    """Return the keys of the published tars that hold a clip of the videos."""
    return [str(row["path"]) for row in store.read("shards").to_pylist() if _clips_in(store, row, mentions)]


def known_versions(store: Store) -> set[str]:
    """Return the versions of the set of which it is known what they held."""
    return set(_manifests(store))


def tars_of(store: Store, version: str) -> list[str]:
    """Return the keys of the tars that a version's manifest lists, published or replaced; none without a manifest."""
    return [str(shard["path"]) for shard in _listed(_manifest(store, manifest_key(version)))]


def take_out_of_shards(store: Store, config: Config, mentions: Mentions) -> ShardsTaken:
    """Publish the set without the videos, and delete every tar that holds a clip of them, of older versions too."""
    taken = ShardsTaken(before=current_shards(store), after=current_shards(store))
    rows = store.read("shards").sort_by("path").to_pylist()
    rows.sort(key=lambda row: (SPLITS.index(row["split"]), row["path"]))
    order = hashlib.sha256()
    published = []
    for row in rows:
        table = read_shard(store, row, _ignore)
        mine = pc.is_in(table["video_id"], value_set=texts(mentions.videos))
        kept = table.filter(pc.invert(mine))
        for clip_id in kept["clip_id"].to_pylist():
            order.update(f"{row['split']} {clip_id}\n".encode())
        if len(kept) == len(table):
            published.append(row)
            continue
        taken.samples += len(table) - len(kept)
        if len(kept):
            published.append(row | _next_generation(store, row, mentions))
            taken.rewritten.append(published[-1]["path"])
    if taken.samples:
        assert taken.before is not None
        taken.after = _publish(store, config, taken.before, published, order.hexdigest())
    _delete_what_is_replaced(store, mentions, taken)
    return taken


def _next_generation(store: Store, row: Mapping[str, Any], mentions: Mentions) -> dict[str, Any]:
    """Write a tar again without the clips of the videos, with its index; return the columns that change."""
    before = str(row["path"])
    match = _GENERATION.search(before)
    number = int(match[1]) + 1 if match else 2
    key = f"{before[: match.start()] if match else before.removesuffix('.tar')}.g{number}.tar"
    entries = {entry["clip_id"]: entry for entry in read_shard(store, row, _ignore).to_pylist()}
    placed: list[dict[str, Any]] = []
    with store.local_file(before) as path, tarfile.open(path, "r:") as tar, store.write_file(key) as file:
        writer = TarWriter(file)
        for member in tar:
            clip_id, _, ending = member.name.partition(".")
            content = tar.extractfile(member)
            if mentions.has_clip(clip_id) or content is None:
                continue
            offset = writer.add(member.name, content.read())
            if ending == "mp4" and clip_id in entries:
                placed.append(entries[clip_id] | {"offset": offset, "size": member.size})
        writer.close()
    index, index_sha256 = write_index(store, key, placed)
    facts = {"path": key, "samples": len(placed), "bytes": store.size(key), "sha256": store.sha256(key)}
    facts |= without_clips(store, row, key, mentions.has_clip)
    return facts | {"index": index, "index_sha256": index_sha256}


def _publish(store: Store, config: Config, before: str, rows: Sequence[Mapping[str, Any]], order: str) -> str:
    """Publish the rows under the version of the present plan where they are just that; return the version."""
    try:
        plan = plan_shards(store, config)
    except UserError as exc:
        _LOGGER.warning("the next pass cannot make these shards anew: %s", exc)
        plan = None
    if plan is not None and _order_of(plan) == order:
        version, kept_sha256, contents = plan.version, plan.kept_sha256, {"contents": plan.contents}
        write_manifest(store, config, version, plan.spec, rows, card_facts(store, config, plan, rows))
    else:
        # the decision has changed since: these are the samples of the set before, and no plan describes them
        version, kept_sha256 = hashlib.sha256(f"{before} {order}".encode()).hexdigest()[:12], None
        contents = {}
        tars = [listed(row) for row in rows]
        manifest = _manifest(store, manifest_key(before)) | {"version": version, "cards": [], "shards": tars}
        store.write_blob(manifest_key(version), json.dumps(manifest, sort_keys=True, indent=1).encode())
    shared = {"version": version, "curated_sha256": kept_sha256}
    store.replace("shards", [{**row, **shared} for row in rows], inputs=shard_inputs(store, config) | contents)
    return version


def _order_of(plan: Plan) -> str:
    planned = hashlib.sha256()
    for split, clip_id in zip(plan.clips["split"].to_pylist(), plan.clips["clip_id"].to_pylist(), strict=True):
        planned.update(f"{split} {clip_id}\n".encode())
    return planned.hexdigest()


def _delete_what_is_replaced(store: Store, mentions: Mentions, taken: ShardsTaken) -> None:
    """Delete the tars that no row names and that hold a clip of the videos; take these out of their indexes.

    They are the generations before, and those of older versions that `lampworks gc` has not deleted yet.
    """
    named = {row["path"] for row in store.read("shards", ["path"]).to_pylist()}
    if taken.after is not None:
        taken.deleted += delete_other_cards(store, taken.after)
    for key in store.list_blobs("shards"):
        if key.endswith(".tar") and key not in named and _clips_in(store, {"path": key}, mentions):
            taken.bytes += store.size(key)
            store.delete(key)
            taken.deleted.append(key)
    named_indexes = {index_key(key) for key in named}
    named_actions = set(store.read("shards", ["actions"])["actions"].to_pylist())
    for key in store.list_blobs("shards"):
        if key.endswith(".index.parquet") and key not in named_indexes:
            _take_out_of_index(store, key, mentions)
        elif key.endswith(SUFFIX) and key not in named_actions and _may_have_actions(store, key, mentions):
            store.delete(key)
            taken.deleted.append(key)
        elif key.endswith(".json") and mentions.in_text(text := store.read_blob(key).decode("utf-8", "replace")):
            clean = without_mentions(json.loads(text), mentions)
            store.write_blob(key, json.dumps(clean, sort_keys=True, indent=1).encode())


def _may_have_actions(store: Store, key: str, mentions: Mentions) -> bool:
    """Tell whether actions that no row names are of the videos; those that cannot be read may be."""
    try:
        return any(map(mentions.has_clip, clips_of(read_table(store, key))))
    except DamagedError:
        return True


def _take_out_of_index(store: Store, key: str, mentions: Mentions) -> None:
    table = _read_index(store, key)
    mine = None if table is None else pc.is_in(table["video_id"], value_set=texts(mentions.videos))
    if table is None:
        store.delete(key)
    elif pc.any(mine, min_count=0).as_py():
        store.write_blob(key, index_bytes(table.filter(pc.invert(mine)).to_pylist()))


def _clips_in(store: Store, shard: Mapping[str, Any], mentions: Mentions) -> list[str]:
    """Return the clips of the videos that a tar holds, by its index, else by its headers."""
    path = str(shard["path"])
    table = _read_index(store, index_key(path))
    if table is None and store.exists(path):
        table = read_shard(store, {"path": path}, _ignore)
    if table is None:
        return []
    return [one for clip_id in table["clip_id"].to_pylist() if mentions.has_clip(one := str(clip_id))]


def read_ids(store: Store, key: str) -> list[str] | None:
    """Return the clips that an index lists; None where it is not there or cannot be read."""
    table = _read_index(store, key)
    return None if table is None else [str(clip_id) for clip_id in table["clip_id"].to_pylist()]


def _read_index(store: Store, key: str) -> pa.Table | None:
    """Return an index; None where it is not there or cannot be read."""
    try:
        return parquet_table(store.read_blob(key))
    except (FileNotFoundError, pa.ArrowException):
        return None


def _manifests(store: Store) -> dict[str, list[Mapping[str, Any]]]:
    """Return version -> the tars that its manifest lists."""
    keys = [(match[1], key) for key in store.list_blobs("shards") if (match := _MANIFEST.fullmatch(key))]
    return {version: _listed(_manifest(store, key)) for version, key in keys}


def _listed(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    shards = manifest.get("shards")
    return [one for one in shards if isinstance(one, dict) and "path" in one] if isinstance(shards, list) else []


def _manifest(store: Store, key: str) -> dict[str, Any]:
    try:
        found = json.loads(store.read_blob(key))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _ignore(damaged: DamagedSample) -> None:
    """Do nothing: what cannot be read of a tar is not copied."""
