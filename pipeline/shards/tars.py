"""Write the tars of the training set: each clip's own bytes, copied out of its video's tar, and its origin as JSON.

Beside each tar lies its index, which says where each sample's mp4 is, and the true actions of its clips where they are
kept.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.clips.read import read_clip
from pipeline.clips.tar import TarWriter
from pipeline.job import Job
from pipeline.progress import Progress
from pipeline.shards.actions import copy_actions
from pipeline.shards.index import write_index
from pipeline.shards.plan import Plan, origin, sidecar
from pipeline.shards.splits import SPLITS
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store
from pipeline.workers.spread import spread

_PARALLEL_READS = 8


def write_tars(job: Job, plan: Plan) -> list[dict[str, Any]]:
    """Write the tars that are not there yet; return a row of `shards` for each tar of the plan."""
    rows: list[dict[str, Any]] = []
    planned = _planned(plan, job.config.shards.samples_per_shard)
    with Progress("training_shards", total=len(plan.clips), unit="clips", on_progress=job.on_progress) as progress:
        write = partial(_row_of, store=job.store)
        for tar, row in spread(write, planned, job.config.engine, store=job.store):
            rows.append(row)
            progress.advance(len(tar.members), note=f"{tar.split} {tar.number}")
    assert sum(row["samples"] for row in rows) == len(plan.clips)
    return rows


class _PlannedTar(NamedTuple):
    """A tar of the plan; travels to the process that writes it."""

    split: str
    number: int
    key: str
    members: list[dict[str, Any]]


def _planned(plan: Plan, samples: int) -> Iterator[_PlannedTar]:
    for split in SPLITS:
        clips = plan.clips.filter(pc.equal(plan.clips["split"], pa.scalar(split)))
        for index, start in enumerate(range(0, len(clips), samples)):
            members = clips.slice(start, samples).to_pylist()
            yield _PlannedTar(split, index, f"shards/{plan.version}/{split}/clips-{index:06d}.tar", members)


def _row_of(planned: _PlannedTar, store: Store) -> dict[str, Any]:
    """Write one tar with its index and its actions, where they are not there yet, and return its row."""
    split, _, key, members = planned
    tar = _finished_tar(store, key, members) or _write_tar(store, key, members)
    places = zip(members, tar.offsets, strict=True)
    entries = [origin(row) | {"offset": offset, "size": row["size"]} for row, offset in places]
    name, index_sha256 = write_index(store, key, entries)
    samples: dict[str, Any] = {"split": split, "path": key, "samples": len(members)}
    samples |= {"bytes": tar.size, "sha256": tar.sha256}
    samples |= copy_actions(store, key, members)
    return samples | {"index": name, "index_sha256": index_sha256}


class _Tar(NamedTuple):
    """A tar that is there."""

    size: int
    """In bytes."""
    sha256: str
    offsets: list[int]
    """First byte of each sample's mp4."""


def _write_tar(store: Store, key: str, members: list[dict[str, Any]]) -> _Tar:
    offsets = []
    with store.write_file(key) as file:
        hashed = _HashedFile(file)
        tar = TarWriter(hashed)
        for row, mp4 in zip(members, _read_clips(store, members), strict=True):
            tar.add(f"{row['clip_id']}.json", sidecar(row))
            offsets.append(tar.add(f"{row['clip_id']}.mp4", mp4))
        tar.close()
    return _Tar(hashed.size, hashed.digest.hexdigest(), offsets)


def _read_clips(store: Store, members: list[dict[str, Any]]) -> Iterator[bytes]:
    """Yield the clips' bytes in order; on a remote store several ranges are read at a time."""
    if store.is_local:
        yield from (read_clip(store, row) for row in members)
        return
    with ThreadPoolExecutor(_PARALLEL_READS) as pool:
        yield from pool.map(lambda row: read_clip(store, row), members)


def _finished_tar(store: Store, key: str, members: list[dict[str, Any]]) -> _Tar | None:
    """Return a tar that an earlier run finished; None where it is not there, or damaged since."""
    if not store.exists(key):
        return None
    # what is written again of its members, without a file, must give the same hash
    again, offsets = _HashedFile(None), []
    with store.local_file(key) as path:
        try:
            with tarfile.open(path, "r:") as tar:
                writer = TarWriter(again)
                for name, digest in _names_and_digests(members):
                    member = tar.next()
                    if member is None or member.name != name or (file := tar.extractfile(member)) is None:
                        return None
                    data = file.read()
                    if hashlib.sha256(data).hexdigest() != digest:
                        return None
                    offsets.append(writer.add(name, data))
                writer.close()
        except (tarfile.TarError, ValueError, EOFError, OverflowError, RecursionError):
            return None
        with path.open("rb") as whole:
            is_same = hashlib.file_digest(whole, "sha256").hexdigest() == again.digest.hexdigest()
    # every second member is an mp4
    return _Tar(again.size, again.digest.hexdigest(), offsets[1::2]) if is_same else None


def _names_and_digests(members: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for row in members:
        yield f"{row['clip_id']}.json", hashlib.sha256(sidecar(row)).hexdigest()
        yield f"{row['clip_id']}.mp4", row["sha256"]


class _HashedFile(io.RawIOBase):
    """A file that hashes what is written to it, so that a tar is not read again; None: it keeps nothing."""

    def __init__(self, file: Any) -> None:
        self.file, self.digest, self.size = file, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Any) -> int:
        self.digest.update(data)
        if self.file is not None:
            self.file.write(data)
        self.size += len(data)
        return len(data)
