"""A tar that a stranger made or a disk damaged: nothing is written or followed, every sample is read whole or named."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.errors import PermanentError, UserError
from pipeline.shards.read import read_samples
from pipeline.shards.sample import DamagedSample, Sample
from pipeline.storage.store import Store

SPEC = "0a1b2c3d"
TAR = "shards/v1/train/clips-000000.tar"
Member = tuple[tarfile.TarInfo, bytes]


def clip_id(number: int) -> str:
    return f"folder-a-{number * 16000:09d}-{SPEC}"


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object) -> Member:
    info = tarfile.TarInfo(name)
    info.size, info.type = len(data), kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def sample(number: int) -> list[Member]:
    mp4 = f"mp4 {number}".encode() * 300
    about = json.dumps({"sha256": hashlib.sha256(mp4).hexdigest()}).encode()
    return [member(f"{clip_id(number)}.json", about), member(f"{clip_id(number)}.mp4", mp4)]


def tar_of(*members: Member, format: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def read(store: Store, data: bytes, samples: int) -> tuple[list[Sample], list[DamagedSample]]:
    store.write_blob(TAR, data)
    store.replace("shards", [{"version": "v1", "split": "train", "path": TAR, "samples": samples}])
    damaged: list[DamagedSample] = []
    return list(read_samples(store, "v1", "train", damaged.append)), damaged


def with_size(data: bytes, place: int, field: bytes) -> bytes:
    """Return a tar whose header at a place has another size field, and the checksum of that."""
    header = bytearray(data[place : place + 512])
    header[124:136] = field
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return data[:place] + bytes(header) + data[place + 512 :]


STRANGE: dict[str, list[Member]] = {
    "a symbolic link": [member(f"{clip_id(1)}.mp4", kind=tarfile.SYMTYPE, linkname="/etc/passwd")],
    "a hard link": [member(f"{clip_id(1)}.mp4", kind=tarfile.LNKTYPE, linkname=f"{clip_id(0)}.mp4")],
    "a device": [member(f"{clip_id(1)}.mp4", kind=tarfile.CHRTYPE, devmajor=1, devminor=5)],
    "a FIFO": [member(f"{clip_id(1)}.mp4", kind=tarfile.FIFOTYPE)],
    "a folder": [member(f"{clip_id(1)}.mp4", kind=tarfile.DIRTYPE)],
    "a sparse file": [member(f"{clip_id(1)}.mp4", b"", kind=tarfile.GNUTYPE_SPARSE)],
    "a pickle": [*sample(1), member(f"{clip_id(1)}.pkl", b"cos\nsystem\n(S'true'\ntR.")],
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_tar_with_anything_but_plain_mp4_and_json_is_refused_with_its_name(store: Store, name: str) -> None:
    with pytest.raises(UserError, match=rf"{TAR}: sample .*only mp4 and json are read.*lampworks run"):
        read(store, tar_of(*sample(0), *STRANGE[name]), 2)


@pytest.mark.parametrize("name", ["../../../tmp/x", "/etc/cron.d/x", "..", "a/../b", "C:\\x", "\u202egnp"])
def test_a_name_that_leaves_the_folder_is_a_damaged_sample_and_nothing_is_written(
    store: Store, tmp_path: Path, name: str
) -> None:
    strange = [member(f"{name}.json", b"{}"), member(f"{name}.mp4", b"mp4")]
    before = {path for path in tmp_path.rglob("*") if "shards" not in path.parts and "tables" not in path.parts}
    found: list[Sample] = []
    with suppress(UserError):
        found, damaged = read(store, tar_of(*sample(0), *strange), 2)
        assert damaged
    assert [one.clip_id for one in found] in ([clip_id(0)], [])
    after = {path for path in tmp_path.rglob("*") if "shards" not in path.parts and "tables" not in path.parts}
    assert after - before <= {Path(store.root)}


HEADERS: dict[str, bytes] = {
    "negative": b"\xff" * 11 + b"\x00",
    "minus the header": b"\xff" * 10 + struct.pack(">h", -1024),
    "8 exabytes": b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7,
    "no number": b"not a number",
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("size", HEADERS)
def test_a_false_size_ends_the_tar_there_and_never_the_reader(store: Store, size: str) -> None:
    data = tar_of(*sample(0), *sample(1), *sample(2))
    second = data.index(f"{clip_id(1)}.mp4".encode())
    found, damaged = read(store, with_size(data, second, HEADERS[size]), 3)
    assert [one.clip_id for one in found] == [clip_id(0)]
    assert len(damaged) == 2


@pytest.mark.timeout(60)
def test_headers_without_end_do_not_exhaust_the_reader(store: Store) -> None:
    pax = tarfile.TarInfo("pax")
    pax.type, pax.size = tarfile.XHDTYPE, 12
    block = pax.tobuf(tarfile.USTAR_FORMAT) + b"12 path=abc\n".ljust(512, b"\0")
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    for data in (block * 5000, tar_of(*sample(0)).rstrip(b"\0") + b"\0" * 512 + long.tobuf(tarfile.GNU_FORMAT)):
        found, damaged = read(store, data, 2)
        assert len(found) + len(damaged) == 2
        assert damaged


def test_an_endless_json_is_a_damaged_sample(store: Store) -> None:
    big = [member(f"{clip_id(1)}.json", b"[" * (2 << 20)), member(f"{clip_id(1)}.mp4", b"mp4")]
    found, damaged = read(store, tar_of(*sample(0), *big), 2)
    assert [one.clip_id for one in found] == [clip_id(0)]
    assert [one.name for one in damaged] == [clip_id(1)]


def test_two_samples_of_one_name_are_not_one_clip_twice(store: Store) -> None:
    found, _ = read(store, tar_of(*sample(0), *sample(1), *sample(0)), 3)
    assert all(one.read_mp4(store) for one in found)
    assert {one.clip_id for one in found} == {clip_id(0), clip_id(1)}


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "flipped in a header": lambda data: data.replace(f"{clip_id(1)}.mp4".encode(), f"{clip_id(1)}.mp5".encode(), 1),
    "flipped in the clip": lambda data: data.replace(b"mp4 1mp4 1", b"mp4 1mp5 1", 1),
    "cut short": lambda data: data[: len(data) // 2],
    "two clips swapped": lambda data: (
        data.replace(b"mp4 1" * 300, b"mp4 x" * 300)
        .replace(b"mp4 2" * 300, b"mp4 1" * 300)
        .replace(b"mp4 x" * 300, b"mp4 2" * 300)
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_sample_of_a_damaged_tar_is_what_was_cut_or_is_named(store: Store, name: str) -> None:
    whole = tar_of(*sample(0), *sample(1), *sample(2))
    found, damaged = read(store, CHANGES[name](whole), 3)
    assert len(found) + len(damaged) == 3
    refused = 0
    for one in found:
        number = next(number for number in range(3) if clip_id(number) == one.clip_id)
        try:
            assert one.read_mp4(store) == f"mp4 {number}".encode() * 300
        except PermanentError as exc:
            refused += 1
            told = f"{exc.error_class} {exc}"
            assert told.startswith("bad_sample")
    assert refused + len(damaged) >= 1
