"""Read training shards and their manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pipeline.errors import UserError
from pipeline.shards.splits import Split
from pipeline.storage.store import Store

_FIELDS = {"mp4", "json"}


def current_shards(store: Store) -> str | None:
    """Return the version of the published set, or None."""
    versions = store.read("shards", ["version"])["version"].unique().to_pylist()
    assert len(versions) <= 1, f"the table of shards holds {len(versions)} versions"
    return str(versions[0]) if versions else None


def open_shards(store: Store, version: str, split: Split) -> Iterator[dict[str, Any]]:
    """Yield the samples of a split: `__key__` (clip_id), `mp4` (bytes) and `json` (a dict), from any store.

    Members are read by WebDataset's own tar reader and grouping, none of its decoders: a tar that holds anything but
    mp4 and json (a pickle, say) is refused with a UserError, not unpacked.
    """
    # here, because it imports torch, which nothing else in this module needs
    from webdataset.tariterators import group_by_keys, tar_file_expander

    manifest = json.loads(store.read_blob(_manifest_key(version)))

    def streams() -> Iterator[dict[str, Any]]:
        for shard in manifest["shards"]:
            if shard["split"] == split:
                with store.local_file(shard["path"]) as path, path.open("rb") as stream:
                    yield {"url": shard["path"], "stream": stream}

    for sample in group_by_keys(tar_file_expander(streams())):
        fields = {name for name in sample if not name.startswith("__")}
        if fields != _FIELDS:
            raise UserError(
                f"{sample['__url__']}: sample {sample['__key__']!r} holds {', '.join(sorted(fields))}; only mp4 and "
                "json are read. It was not written by lampworks: write the shards again."
            )
        yield {"__key__": sample["__key__"], "mp4": sample["mp4"], "json": json.loads(sample["json"])}


def _manifest_key(version: str) -> str:
    return f"shards/{version}/manifest.json"
