"""List the samples of a tar by its headers: what an index is made again from where it is gone or damaged.

Nothing in a tar is unpickled or run: a tar that holds anything but mp4 and JSON members is refused. A damaged tar (cut
short, a wrong header, a sample without its JSON) costs the samples that cannot be read; each is named.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from pipeline.errors import UserError
from pipeline.ids import CLIP_ID_PATTERN
from pipeline.shards.sample import DamagedSample, Sample, restore_advice
from pipeline.storage.store import Store

_FIELDS = {"mp4", "json"}
# what tarfile raises for headers that are no headers, and for a file that ends too early
_TAR_DAMAGED = (tarfile.TarError, ValueError, EOFError, OverflowError, RecursionError)
_MOST_JSON_BYTES = 1 << 20


def scan_tar(store: Store, key: str, expected: int | None) -> Iterator[Sample | DamagedSample]:
    """Yield the samples of a tar, then those that it should hold and does not give.

    The whole tar is copied first where the store is no folder.

    Args:
        store: has the tar.
        key: of the tar.
        expected: samples that the tar should hold; None where that is unknown.

    Raises:
        UserError: the tar holds anything but mp4 and JSON (a pickle, say).
    """
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
