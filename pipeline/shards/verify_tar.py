"""Compare a tar of samples with its hash, its index, and each sample with its own hash, in one pass over its bytes."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

import pyarrow as pa

from pipeline.errors import UserError
from pipeline.storage.store import Store

_TAR_DAMAGED = (tarfile.TarError, ValueError, EOFError, OverflowError, RecursionError)
_PIECE = 1 << 20
_SHOWN = 3


class TarProblem(NamedTuple):
    """In what a tar is not what was written."""

    why: str
    samples: tuple[str, ...]
    """The samples that are damaged or missing, as far as they are known."""


def tar_problem(store: Store, shard: Mapping[str, Any], index: pa.Table | None) -> TarProblem | None:
    """Return in what a tar is not what was written; None where every byte is.

    Args:
        store: the store.
        shard: its entry of the manifest: `path`, `bytes`, `sha256`, `samples`.
        index: its index; None where it has none, or it is damaged too.
    """
    expected = {} if index is None else {str(entry["clip_id"]): entry for entry in index.to_pylist()}
    try:
        with store.open_blob(str(shard["path"])) as file:
            hashed = _Hashed(file)
            found = _read_samples(hashed, expected)
            hashed.drain()
    except (FileNotFoundError, UserError):  # a key outside of the root is nowhere
        return TarProblem("is not there", tuple(expected))
    reasons = []
    if hashed.size != shard["bytes"]:
        reasons.append(f"has {hashed.size} bytes instead of {shard['bytes']}")
    elif hashed.digest.hexdigest() != shard["sha256"]:
        reasons.append("has another SHA-256 than the manifest says")
    if found.end:
        reasons.append(found.end)
    if len(found.seen) != shard["samples"]:
        reasons.append(f"gives {len(found.seen)} of {shard['samples']} samples")
    bad = dict(found.bad)
    bad |= {clip_id: "it is missing" for clip_id in expected if clip_id not in found.seen}
    if expected and list(expected)[: len(found.seen)] != found.seen and not reasons:
        reasons.append("has its samples in another order than its index")
    if bad:
        named = "; ".join(f"{clip_id}: {why}" for clip_id, why in list(bad.items())[:_SHOWN])
        more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        reasons.append(f"{len(bad)} of {shard['samples']} samples are damaged ({named}{more})")
    return TarProblem(", ".join(reasons), tuple(bad)) if reasons else None


class _Samples:
    """What the members of a tar gave."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        """Clip ids with an mp4, in order."""
        self.bad: dict[str, str] = {}
        self.end = ""
        """Why it was not read to its end."""


def _read_samples(file: _Hashed, expected: Mapping[str, Mapping[str, Any]]) -> _Samples:
    found, about, told = _Samples(), "", {}
    try:
        with tarfile.open(fileobj=file, mode="r|", bufsize=_PIECE) as tar:
            for member in tar:
                clip_id, _, ending = member.name.partition(".")
                about = clip_id
                content = tar.extractfile(member) if member.isreg() and not member.issparse() else None
                if content is None or ending not in ("json", "mp4"):
                    found.bad[clip_id] = f"it has a member {ending!r}"
                elif ending == "json":
                    told = {clip_id: _object_of(content.read())}
                else:
                    found.seen.append(clip_id)
                    why = _difference(member, content.read(), told.get(clip_id), expected.get(clip_id))
                    if expected and clip_id not in expected:
                        why = why or "the index does not name it"
                    if why:
                        found.bad[clip_id] = why
    except _TAR_DAMAGED as exc:
        found.end = f"cannot be read as a tar behind {about or 'its start'} ({exc})"
    return found


def _difference(
    member: tarfile.TarInfo, mp4: bytes, told: Mapping[str, Any] | None, expected: Mapping[str, Any] | None
) -> str:
    """Return in what a sample is not what was written; "" where it is."""
    if told is None:
        return "its JSON is missing or damaged"
    digest = hashlib.sha256(mp4).hexdigest()
    if told.get("sha256") not in (None, digest):
        return "its bytes are not those that were cut"
    if expected is None:
        return ""
    if (member.offset_data, member.size) != (expected["offset"], expected["size"]):
        return "it lies in another place than the index says"
    return "" if expected["sha256"] in (None, digest) else "its bytes are not those of the index"


def _object_of(data: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


class _Hashed(io.RawIOBase):
    """Reads a file from its first byte to its last, and hashes what is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest, self.size = file, hashlib.sha256(), 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.digest.update(data)
        self.size += len(data)
        return data

    def drain(self) -> None:
        """Read what is left."""
        while self.read(_PIECE):
            pass
