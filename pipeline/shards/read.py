"""Read training shards: which sets are published, and the samples of a split.

    for sample in read_samples(store, version, "train"):
        mp4 = sample.read_mp4(store)

Nothing in a tar is unpickled or run: a tar that holds anything but mp4 and JSON members is refused.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.shards.splits import Split
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store

_FIELDS = {"mp4", "json"}


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


def read_samples(store: Store, version: str, split: Split) -> Iterator[Sample]:
    """Yield the samples of a split in the order of its tars; none where this version is not the published one.

    Raises:
        UserError: a tar holds anything but mp4 and JSON (a pickle, say).
    """
    where = (pc.field("version") == version) & (pc.field("split") == split)
    for key in sorted(str(path) for path in store.read("shards", ["path"], where)["path"].to_pylist()):
        with store.local_file(key) as path:
            yield from _samples_of(path, key)


def _samples_of(path: Path, key: str) -> Iterator[Sample]:
    with tarfile.open(path) as tar:
        # the key of a sample ends at the first dot, as WebDataset has it
        for clip_id, group in groupby(tar, key=lambda member: member.name.partition(".")[0]):
            members = {member.name.partition(".")[2]: member for member in group}
            if members.keys() != _FIELDS or not all(member.isreg() for member in members.values()):
                raise UserError(
                    f"{key}: sample {clip_id!r} holds {', '.join(sorted(members))}; only mp4 and json are read. It "
                    "was not written by lampworks: write the shards again."
                )
            text = tar.extractfile(members["json"])
            assert text is not None
            mp4 = members["mp4"]
            yield Sample(clip_id, key, mp4.offset_data, mp4.size, json.load(text))


def manifest_key(version: str) -> str:
    """Return the blob key of a set's manifest."""
    return f"shards/{version}/manifest.json"
