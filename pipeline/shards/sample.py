"""A sample of the training set: where its mp4 lies, and its bytes, compared with their hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from pipeline.clips.samples import BAD_SAMPLE
from pipeline.errors import PermanentError
from pipeline.storage.store import Store


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
    """What the set says of the clip: its video (source, title, video_id), its span (start_ms, end_ms), its probability,
    sha256 (of the mp4), num_frames, fps and cut_ms; None where that is unknown."""

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


@dataclass(frozen=True)
class DamagedSample:
    """A sample of the set that cannot be read."""

    name: str
    """Its clip id, or its tar and its place where the tar does not tell the id any more."""
    reason: str


def restore_advice(version: str | None) -> str:
    """Return how a damaged set is made whole again."""
    return (
        f"Delete the folder shards/{version} of the root and run `lampworks run`: the same shards are written again "
        "from the clips."
    )
