"""Shards are read as far as they can be: a damaged tar costs what it lost, and is made whole as the error says.

Which samples a tar has is known from its index. Where that is gone or damaged, and in sets that have none, the tar is
scanned.
"""

from __future__ import annotations

import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import PermanentError, UserError
from pipeline.inspect.deep import find_faults
from pipeline.inspect.mend import mend
from pipeline.job import Job
from pipeline.shards.read import current_shards, read_samples
from pipeline.shards.sample import DamagedSample
from pipeline.shards.write import shards_are_current, write_shards
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.snapshots import digests
from tests.synthetic import CONFIG, finished_store


@pytest.fixture
def done(tmp_path: Path) -> Store:
    return finished_store(tmp_path / "root")


def first_tar(store: Store) -> str:
    return next(key for key in store.list_blobs("shards") if "/train/" in key and key.endswith(".tar"))


def cut(store: Store, key: str, offset: int) -> None:
    store.write_blob(key, store.read_blob(key)[:offset])


def forget_indexes(store: Store) -> None:
    """Make the rows those of a set that an older version wrote."""
    store.replace("shards", [row | {"index": None, "index_sha256": None} for row in store.read("shards").to_pylist()])


def read(store: Store) -> tuple[list[str], list[DamagedSample]]:
    """Return the ids of the samples whose bytes can be read, and the others."""
    damaged: list[DamagedSample] = []
    ids = []
    for sample in read_samples(store, str(current_shards(store)), "train", damaged.append):
        try:
            sample.read_mp4(store)
        except PermanentError as exc:
            damaged.append(DamagedSample(sample.clip_id, str(exc)))
        else:
            ids.append(sample.clip_id)
    return ids, damaged


def test_whole_tars_lose_nothing(done: Store) -> None:
    assert read(done)[1] == []


@pytest.mark.parametrize("has_index", [True, False])
@pytest.mark.parametrize("place", ["at its start", "in a header", "in a JSON", "in an mp4", "between two samples"])
def test_what_a_tar_has_lost_is_counted_to_the_last_sample(done: Store, place: str, has_index: bool) -> None:
    whole, key = read(done)[0], first_tar(done)
    with tarfile.open(done.url(key)) as tar:
        members = list(tar)
    text, mp4 = members[4], members[5]  # of the third sample
    offset = {
        "at its start": 0, "in a header": text.offset + 100, "in a JSON": text.offset_data + 5,
        "in an mp4": mp4.offset_data + 5, "between two samples": text.offset,
    }[place]  # fmt: skip
    if not has_index:
        forget_indexes(done)
    cut(done, key, offset)
    found, damaged = read(done)
    kept = 0 if place == "at its start" else 2
    assert found[:kept] == whole[:kept]
    assert len(found) + len(damaged) == len(whole), "every sample is either read or named"
    named = [sample.name for sample in damaged if "#" not in sample.name]
    if has_index:
        assert named == whole[kept : len(named) + kept], "an index still tells the ids"
    else:
        assert named == ([whole[2]] if place in ("in a JSON", "in an mp4") else [])


@pytest.mark.parametrize("has_index", [True, False])
def test_a_tar_that_is_gone_costs_all_its_samples(done: Store, has_index: bool) -> None:
    key, count = first_tar(done), len(read(done)[0])
    if not has_index:
        forget_indexes(done)
    done.delete(key)
    found, damaged = read(done)
    assert len(found) + len(damaged) == count
    assert {sample.reason for sample in damaged} == {
        f"its bytes are not in {key}" if has_index else "its tar is not there"
    }


def test_a_damaged_set_is_written_again_as_the_error_says(done: Store) -> None:
    before, key = digests(Path(done.root) / "shards"), first_tar(done)
    forget_indexes(done)
    cut(done, key, 3000)
    with pytest.raises(UserError, match=r"sample \S+ of the training shards: its tar ends") as caught:
        list(read_samples(done, str(current_shards(done)), "train"))
    assert shards_are_current(done, CONFIG), "a pass would not look into the tar"
    folder = re.search(r"Delete the folder (\S+) of the root and run `lampworks run`", str(caught.value))
    assert folder is not None
    shutil.rmtree(Path(done.root) / folder[1])
    assert not shards_are_current(done, CONFIG), "so a pass writes them"
    write_shards(Job(done, CONFIG, home_of(done)))
    assert digests(Path(done.root) / "shards") == before
    assert read(done)[1] == []


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "is not there": lambda data: None,
    "is not what was written": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "is not what was written (0 bytes": lambda data: b"",
}


@pytest.mark.parametrize("why", DAMAGE)
def test_a_damaged_index_is_named_and_its_tar_read_instead_until_it_is_mended(
    done: Store, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    before, whole, tar = digests(Path(done.root) / "shards"), read(done)[0], first_tar(done)
    listed = list(read_samples(done, str(current_shards(done)), "train"))
    key = tar.removesuffix(".tar") + ".index.parquet"
    data = DAMAGE[why](done.read_blob(key))
    if data is None:
        done.delete(key)
    else:
        done.write_blob(key, data)
    assert read(done) == (whole, [])
    assert list(read_samples(done, str(current_shards(done)), "train")) == listed, (
        "the tar says all that the index says"
    )
    assert f"{key} {why}" in caplog.text
    assert f"{tar} is read instead" in caplog.text
    home = home_of(done)
    faults = [fault for fault in find_faults(done, home) if fault.kind == "shards"]
    assert [fault.key for fault in faults] == [key]
    mend(done, home, faults)
    write_shards(Job(done, CONFIG, home))
    assert {name: digest for name, digest in digests(Path(done.root) / "shards").items() if "manifest" not in name} == {
        name: digest for name, digest in before.items() if "manifest" not in name
    }
    assert not [fault for fault in find_faults(done, home) if fault.kind == "shards"]


def test_a_list_of_samples_opens_no_tar(done: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = list(read_samples(done, str(current_shards(done)), "train"))
    for key in done.list_blobs("shards"):
        if key.endswith(".tar"):
            done.delete(key)
    assert list(read_samples(done, str(current_shards(done)), "train")) == samples


def test_a_set_without_indexes_is_written_again_by_the_next_run(done: Store) -> None:
    inputs = done.inputs("shards")
    assert inputs is not None
    forget_indexes(done)
    older = inputs | {"settings": inputs["settings"] | {"format": 2}}
    done.replace("shards", [row | {"version": "0123456789ab"} for row in done.read("shards").to_pylist()], inputs=older)
    assert not shards_are_current(done, CONFIG)
    write_shards(Job(done, CONFIG, home_of(done)))
    assert all(done.exists(row["index"]) for row in done.read("shards").to_pylist())
