"""Read training shards: which sets are published, and the samples of a split.

    for sample in read_samples(store, version, "train"):
        mp4 = sample.read_mp4(store)

Nothing in a tar is unpickled or run: a tar that holds anything but mp4 and JSON members is refused. A damaged tar (cut
short, a wrong header, a sample without its JSON) costs the samples that cannot be read; a reader is told of each.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pipeline.clips.samples import BAD_SAMPLE
from pipeline.errors import PermanentError, UserError
from pipeline.ids import CLIP_ID_PATTERN
from pipeline.shards.splits import SPLITS, Split
from pipeline.storage.arrow import pc
from pipeline.storage.damage import DamagedError
from pipeline.storage.json_blob import read_json
from pipeline.storage.store import Store

_FIELDS = {"mp4", "json"}
# what tarfile raises for headers that are no headers, and for a file that ends too early
_TAR_DAMAGED = (tarfile.TarError, ValueError, EOFError, OverflowError, RecursionError)
_MOST_JSON_BYTES = 1 << 20


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
    """What the tar says of the clip's video: source (URL), title, video_id, start_ms, end_ms, probability,
    sha256 (of the mp4)."""

    @property
    def sha256(self) -> str | None:
        """The hash of the mp4; None in shards of older versions."""
        known = self.origin.get("sha256")
        return known if isinstance(known, str) else None

    def read_mp4(self, store: Store) -> bytes:
        """Return the mp4 bytes, one ranged read, compared with their hash.

        Raises:
            PermanentError: the tar does not hold the bytes that were cut (`bad_sample`).
        """
        return read_sample(store, self.tar, self.offset, self.size, self.sha256)


def read_sample(store: Store, tar: str, offset: int, size: int, sha256: str | None) -> bytes:
    """Return the bytes of a sample's mp4.

    Raises:
        PermanentError: they are not in the tar, or do not give the hash (`bad_sample`).
    """
    try:
        mp4 = store.read_range(tar, offset, size)
    except (EOFError, FileNotFoundError) as exc:
        raise PermanentError(f"its bytes are not in {tar}", error_class=BAD_SAMPLE) from exc
    if sha256 is not None and hashlib.sha256(mp4).hexdigest() != sha256:
        raise PermanentError(f"its bytes in {tar} are not those that were cut", error_class=BAD_SAMPLE)
    return mp4


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
    except UserError:
        raise  # a tar of another maker is refused as a whole
    except _TAR_DAMAGED as exc:
        reason = f"its tar is damaged ({exc})"
    for number in range(count, expected or 0):
        yield DamagedSample(f"{key}#{number}", reason)


def _samples_of(path: Path, key: str) -> Iterator[Sample | DamagedSample]:
    size = path.stat().st_size
    with tarfile.open(path, "r:") as tar:
        # the key of a sample ends at the first dot, as WebDataset has it
        for clip_id, group in groupby(_forward(tar), key=lambda member: member.name.partition(".")[0]):
            members = {}
            try:
                for member in group:
                    members[member.name.partition(".")[2]] = member
            except _TAR_DAMAGED:
                # the tar ends inside this sample; what follows is missing too
                yield DamagedSample(clip_id, "its tar ends inside it")
                return
            if not members.keys() <= _FIELDS or not all(_is_plain(member) for member in members.values()):
                raise UserError(
                    f"{key}: sample {clip_id!r} holds {', '.join(sorted(members))}; only mp4 and json are read. It "
                    f"was not written by lampworks. {restore_advice(key.split('/')[1])}"
                )
            yield _sample(tar, members, clip_id, key, size)


def _forward(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar; ReadError where the next one does not lie behind the last (a negative size)."""
    end = -1
    for member in tar:
        if member.offset <= end or member.size < 0:
            raise tarfile.ReadError("a member lies before the one that precedes it")
        end = member.offset
        yield member


def _sample(
    tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], clip_id: str, key: str, size: int
) -> Sample | DamagedSample:
    if members.keys() != _FIELDS:
        return DamagedSample(clip_id, f"its {' and '.join(sorted(_FIELDS - members.keys()))} is missing in the tar")
    if any(member.offset_data + member.size > size for member in members.values()):
        return DamagedSample(clip_id, "its tar ends inside it")
    if members["json"].size > _MOST_JSON_BYTES:
        return DamagedSample(clip_id, f"its JSON has {members['json'].size} bytes")
    text = tar.extractfile(members["json"])
    assert text is not None
    try:
        origin = json.load(text)
    except (ValueError, RecursionError):
        return DamagedSample(clip_id, "its JSON cannot be read")
    if not isinstance(origin, dict):
        return DamagedSample(clip_id, "its JSON is no object")
    if re.fullmatch(CLIP_ID_PATTERN, clip_id) is None:
        return DamagedSample(clip_id, "its name is no clip id")
    mp4 = members["mp4"]
    return Sample(clip_id, key, mp4.offset_data, mp4.size, origin)


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Tell whether a member is a file whose bytes lie in the tar as they are: no link, device or sparse file."""
    return member.isreg() and not member.issparse()


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
