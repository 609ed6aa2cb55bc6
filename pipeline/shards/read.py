"""Read training shards: which sets are published, and the samples of a split.

    for sample in read_samples(store, version, "train"):
        mp4 = sample.read_mp4(store)

Which samples a tar has and where they lie is known from its index (`pipeline.shards.index`): no tar is opened to list
its samples, and the bytes of a sample are one ranged read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from pipeline.shards.index import read_shard, samples_of
from pipeline.shards.sample import DamagedSample, Sample, restore_advice
from pipeline.shards.splits import SPLITS, Split
from pipeline.storage.arrow import pc, rows_with
from pipeline.storage.damage import DamagedError
from pipeline.storage.json_blob import read_json
from pipeline.storage.store import Store


def current_shards(store: Store) -> str | None:
    """Return the version of the published set, or None."""
    versions = store.read("shards", ["version"])["version"].unique().to_pylist()
    assert len(versions) <= 1, f"the table of shards holds {len(versions)} versions"
    return str(versions[0]) if versions else None


def shard_rows(store: Store, version: str, split: Split | None = None) -> list[dict[str, Any]]:
    """Return the rows of `shards` of a set, by path; of one split where it is named."""
    where = pc.field("version") == version
    if split is not None:
        where &= pc.field("split") == split
    return sorted(store.read("shards", where=where).to_pylist(), key=lambda row: str(row["path"]))


def read_samples(
    store: Store, version: str, split: Split, on_damage: Callable[[DamagedSample], None] | None = None
) -> Iterator[Sample]:
    """Yield the samples of a split in the order of its tars; none where this version is not the published one.

    Args:
        store: has the shards.
        version: of the set.
        split: of the set.
        on_damage: called for each sample that a damaged tar without an index does not give. Without it, damage is an
            error.

    Raises:
        UserError: a tar without an index holds anything but mp4 and JSON, or is damaged and `on_damage` is None.
    """
    for row in shard_rows(store, version, split):
        yield from samples_of(read_shard(store, row, on_damage), str(row["path"]))


def find_samples(store: Store, version: str, clip_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return clip id -> the row of `shards` whose tar holds it; clips that no tar of the set holds are left out."""
    found: dict[str, dict[str, Any]] = {}
    for row in shard_rows(store, version):
        if len(found) == len(set(clip_ids)):
            break
        table = rows_with(read_shard(store, row, lambda _: None).select(["clip_id"]), "clip_id", set(clip_ids))
        found |= {str(clip_id): row for clip_id in table["clip_id"].to_pylist()}
    return found


def read_manifest(store: Store, version: str) -> dict[str, int]:
    """Return how many samples each split has by the manifest of a set; DamagedError where it cannot be read."""
    shards = read_json(store, manifest_key(version), restore_advice(version)).get("shards")
    try:
        return {split: sum(int(one["samples"]) for one in shards or () if one["split"] == split) for split in SPLITS}
    except (TypeError, KeyError, ValueError) as exc:
        raise DamagedError(
            f"{store.root}/{manifest_key(version)} is damaged: it lists no shards. {restore_advice(version)}"
        ) from exc


def manifest_key(version: str) -> str:
    """Return the blob key of a set's manifest."""
    return f"shards/{version}/manifest.json"
