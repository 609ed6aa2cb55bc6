"""Read training shards: which sets are published, and the samples of a split.

    for sample in read_samples(store, version, "train"):
        mp4 = sample.read_mp4(store)

Nothing in a tar is unpickled or run: a tar that holds anything but mp4 and JSON members is refused. A damaged tar (cut
short, a wrong header, a sample without its JSON) costs the samples that cannot be read; a reader is told of each.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.shards.splits import Split
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store

_FIELDS = {"mp4", "json"}
# what tarfile raises for headers that are no headers, and for a file that ends too early
_TAR_DAMAGED = (tarfile.TarError, ValueError, EOFError, OverflowError)


@dataclass(frozen=True)
class Sample:
    """One clip of the training set: where its mp4 lies, and where the clip comes from."""

    clip_id: str
    tar: str
    """Blob key of its tar."""
    offset: int
    """First byte of the mp4 in the tar."""
    size: int
    """Bytes of the mp4."""
    origin: dict[str, Any]
    """What the tar says of the clip's video: source (URL), title, video_id, start_ms, end_ms, probability."""

    def read_mp4(self, store: Store) -> bytes:
        """Return the mp4 bytes, one ranged read."""
        return store.read_range(self.tar, self.offset, self.size)


def current_shards(store: Store) -> str | None:
    """Return the version of the published set, or None."""
    versions = store.read("shards", ["version"])["version"].unique().to_pylist()
    assert len(versions) <= 1, f"the table of shards holds {len(versions)} versions"
    return str(versions[0]) if versions else None


@dataclass(frozen=True)
class DamagedSample:
    """A sample of the set that cannot be read."""

    name: str
    """Its clip id, or its tar and its place where the tar does not tell the id any more."""
    reason: str


def read_samples(
    store: Store, version: str, split: Split, on_damage: Callable[[DamagedSample], None] | None = None
) -> Iterator[Sample]:
    """Yield the samples of a split in the order of its tars; none where this version is not the published one.

    Args:
        store: has the shards.
        version: of the set.
        split: of the set.
        on_damage: called for each sample that a damaged tar does not give. Without it, damage is an error.

    Raises:
        UserError: a tar holds anything but mp4 and JSON (a pickle, say), or is damaged and `on_damage` is None.
    """
    where = (pc.field("version") == version) & (pc.field("split") == split)
    rows = store.read("shards", ["path", "samples"], where).to_pylist()
    for row in sorted(rows, key=lambda row: str(row["path"])):
        for found in _samples_of_tar(store, str(row["path"]), row["samples"]):
            if isinstance(found, Sample):
                yield found
            elif on_damage is not None:
                on_damage(found)
            else:
                raise UserError(
                    f"sample {found.name} of the training shards: {found.reason}. {restore_advice(version)}"
                )


def restore_advice(version: str | None) -> str:
    """Return how a damaged set is made whole again."""
    return (
        f"Delete the folder shards/{version} of the root and run `lampworks run`: the same shards are written again "
        "from the clips."
    )


def _samples_of_tar(store: Store, key: str, expected: int | None) -> Iterator[Sample | DamagedSample]:
    """Yield the samples of a tar, then those that it should hold and does not give."""
    count, reason = 0, "its tar ends before it"
    try:
        with store.local_file(key) as path:
            for found in _samples_of(path, key):
                count += 1
                yield found
    except FileNotFoundError:
        reason = "its tar is not there"
    except _TAR_DAMAGED as exc:
        reason = f"its tar is damaged ({exc})"
    for number in range(count, expected or 0):
        yield DamagedSample(f"{key}#{number}", reason)


def _samples_of(path: Path, key: str) -> Iterator[Sample | DamagedSample]:
    size = path.stat().st_size
    with tarfile.open(path, "r:") as tar:
        # the key of a sample ends at the first dot, as WebDataset has it
        for clip_id, group in groupby(tar, key=lambda member: member.name.partition(".")[0]):
            members = {}
            try:
                for member in group:
                    members[member.name.partition(".")[2]] = member
            except _TAR_DAMAGED:
                # the tar ends inside this sample; what follows is missing too
                yield DamagedSample(clip_id, "its tar ends inside it")
                return
            if not members.keys() <= _FIELDS or not all(member.isreg() for member in members.values()):
                raise UserError(
                    f"{key}: sample {clip_id!r} holds {', '.join(sorted(members))}; only mp4 and json are read. It "
                    f"was not written by lampworks. {restore_advice(key.split('/')[1])}"
                )
            yield _sample(tar, members, clip_id, key, size)


def _sample(
    tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], clip_id: str, key: str, size: int
) -> Sample | DamagedSample:
    if members.keys() != _FIELDS:
        return DamagedSample(clip_id, f"its {' and '.join(sorted(_FIELDS - members.keys()))} is missing in the tar")
    if any(member.offset_data + member.size > size for member in members.values()):
        return DamagedSample(clip_id, "its tar ends inside it")
    text = tar.extractfile(members["json"])
    assert text is not None
    try:
        origin = json.load(text)
    except (ValueError, RecursionError):
        return DamagedSample(clip_id, "its JSON cannot be read")
    if not isinstance(origin, dict):
        return DamagedSample(clip_id, "its JSON is no object")
    mp4 = members["mp4"]
    return Sample(clip_id, key, mp4.offset_data, mp4.size, origin)


def manifest_key(version: str) -> str:
    """Return the blob key of a set's manifest."""
    return f"shards/{version}/manifest.json"
