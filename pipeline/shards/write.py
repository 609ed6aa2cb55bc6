"""The training set: kept clips in WebDataset tars, train and val, the same bytes whenever they are written.

A sample is `<clip_id>.mp4`, the clip's own bytes copied out of its tar without a second encode, and `<clip_id>.json`,
where it comes from. Which clips, their order and every byte of the tars follow from the rows of `curated`, `clips`
and `videos`; the version is a hash of them. So a set that is there already is not written again, and a run that was
killed takes up the tars it had finished.

    shards/<version>/{train,val}/clips-000000.tar ...   shards/<version>/manifest.json (last)   rows of `shards`

Before the rows are committed it is certain that every clip's checksum held, every kept clip is in exactly one tar,
none was taken down, and no source and no group of near-duplicates lies in two splits.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.clips.read import read_clip
from pipeline.clips.tar import TarWriter
from pipeline.config import Config, ShardConfig
from pipeline.errors import UserError
from pipeline.progress import Progress, ProgressCallback
from pipeline.shards.plan import FORMAT, Plan, plan_shards, shard_inputs, sidecar
from pipeline.shards.read import _manifest_key, current_shards
from pipeline.shards.splits import SPLITS
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store

_PARALLEL_READS = 8


@dataclass(frozen=True)
class SplitReport:
    """One split of the set."""

    shards: int = 0
    samples: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class ShardReport:
    """The set as it stands."""

    version: str
    train: SplitReport
    val: SplitReport
    written: bool
    """False where this version was there already."""


def shards_are_current(store: Store, config: Config) -> bool:
    """Tell whether the published set is the one that the decision, the clips and the takedowns now make."""
    version = current_shards(store)
    if version is None or not store.exists(_manifest_key(version)):
        return False
    if store.inputs("shards") == shard_inputs(store, config):
        return True
    try:
        return plan_shards(store, config).version == version
    except UserError:
        return False


def write_shards(store: Store, config: Config, *, on_progress: ProgressCallback | None = None) -> ShardReport:
    """Write the training set and replace the rows of `shards`; a set that is there already is left as it is.

    Raises:
        UserError: nothing is decided, no clip is kept, a split is empty, a source or a group of near-duplicates lies
            in two splits, or a clip's bytes are not those that its row describes.
    """
    while True:
        inputs = shard_inputs(store, config)
        plan = plan_shards(store, config)
        if current_shards(store) == plan.version and store.exists(_manifest_key(plan.version)):
            return _report(store, written=False)
        rows = _write_tars(store, config.shards, plan, on_progress)
        # asked again just before publishing: a takedown that came in meanwhile starts another round
        if shard_inputs(store, config)["tables"]["takedowns"] == inputs["tables"]["takedowns"]:
            break
    manifest = {
        "version": plan.version,
        "format": FORMAT,
        "clip_spec": plan.spec,
        "samples_per_shard": config.shards.samples_per_shard,
        "seed": config.shards.seed,
        "shards": [{name: row[name] for name in ("split", "path", "samples", "bytes", "sha256")} for row in rows],
    }
    store.write_blob(_manifest_key(plan.version), json.dumps(manifest, sort_keys=True, indent=1).encode())
    shared = {"version": plan.version, "curated_version": store.version("curated"), "curated_sha256": plan.kept_sha256}
    store.replace("shards", [row | shared for row in rows], inputs=inputs)
    return _report(store, written=True)


# -- tars ------------------------------------------------------------------------------------------------------------


def _write_tars(
    store: Store, config: ShardConfig, plan: Plan, on_progress: ProgressCallback | None
) -> list[dict[str, Any]]:
    """Write the tars that are not there yet and return a row for each."""
    rows: list[dict[str, Any]] = []
    with Progress("training_shards", total=len(plan.clips), unit="clips", on_progress=on_progress) as progress:
        for split in SPLITS:
            clips = plan.clips.filter(pc.equal(plan.clips["split"], pa.scalar(split)))
            for index, start in enumerate(range(0, len(clips), config.samples_per_shard)):
                members = clips.slice(start, config.samples_per_shard).to_pylist()
                key = f"shards/{plan.version}/{split}/clips-{index:06d}.tar"
                size, digest = _read_digest(store, key) if store.exists(key) else _write_tar(store, key, members)
                samples = {"split": split, "path": key, "samples": len(members)}
                rows.append(samples | {"bytes": size, "sha256": digest})
                progress.advance(len(members), note=f"{split} {index}")
    assert sum(row["samples"] for row in rows) == len(plan.clips)
    return rows


def _write_tar(store: Store, key: str, members: list[dict[str, Any]]) -> tuple[int, str]:
    with store.write_file(key) as file:
        hashed = _HashedFile(file)
        tar = TarWriter(hashed)
        for row, mp4 in zip(members, _read_clips(store, members), strict=True):
            if hashlib.sha256(mp4).hexdigest() != row["sha256"]:
                raise UserError(
                    f"clip {row['clip_id']}: its bytes in {row['tar']} are not those that were cut. Restore the file, "
                    "or delete it and its video's row of clippings, and cut the batch again."
                )
            tar.add(f"{row['clip_id']}.json", sidecar(row))
            tar.add(f"{row['clip_id']}.mp4", mp4)
        tar.close()
    return hashed.size, hashed.digest.hexdigest()


def _read_clips(store: Store, members: list[dict[str, Any]]) -> Iterator[bytes]:
    """Yield the clips' bytes in order; on a remote store several ranges are under way at a time."""
    if store.is_local:
        yield from (read_clip(store, row) for row in members)
        return
    with ThreadPoolExecutor(_PARALLEL_READS) as pool:
        yield from pool.map(lambda row: read_clip(store, row), members)


def _read_digest(store: Store, key: str) -> tuple[int, str]:
    with store.local_file(key) as path, path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


class _HashedFile(io.RawIOBase):
    """Passes writes on and hashes them, so that a tar is not read again."""

    def __init__(self, file: Any) -> None:
        self.file, self.digest, self.size = file, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.file.write(data)
        self.size += len(data)
        return len(data)


def _report(store: Store, *, written: bool) -> ShardReport:
    rows = store.read("shards").to_pylist()
    splits = {}
    for split in SPLITS:
        own = [row for row in rows if row["split"] == split]
        splits[split] = SplitReport(len(own), sum(row["samples"] for row in own), sum(row["bytes"] for row in own))
    return ShardReport(rows[0]["version"], splits["train"], splits["val"], written)
