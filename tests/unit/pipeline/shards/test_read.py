"""Shards are read as far as they can be: a damaged tar costs what it lost, and is made whole as the error says."""

from __future__ import annotations

import re
import shutil
import tarfile
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.shards.read import DamagedSample, current_shards, read_samples
from pipeline.shards.write import shards_are_current, write_shards
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.snapshots import digests
from tests.synthetic import CONFIG, finished_store


@pytest.fixture
def done(tmp_path: Path) -> Store:
    return finished_store(tmp_path / "root")


def first_tar(store: Store) -> str:
    return next(key for key in store.list_blobs("shards") if "/train/" in key)


def cut(store: Store, key: str, offset: int) -> None:
    store.write_blob(key, store.read_blob(key)[:offset])


def read(store: Store) -> tuple[list[str], list[DamagedSample]]:
    damaged: list[DamagedSample] = []
    samples = read_samples(store, str(current_shards(store)), "train", damaged.append)
    return [sample.clip_id for sample in samples], damaged


def test_whole_tars_lose_nothing(done: Store) -> None:
    assert read(done)[1] == []


@pytest.mark.parametrize("place", ["at its start", "in a header", "in a JSON", "in an mp4", "between two samples"])
def test_what_a_tar_has_lost_is_counted_to_the_last_sample(done: Store, place: str) -> None:
    whole, key = read(done)[0], first_tar(done)
    with tarfile.open(done.url(key)) as tar:
        members = list(tar)
    text, mp4 = members[4], members[5]  # of the third sample
    offset = {
        "at its start": 0, "in a header": text.offset + 100, "in a JSON": text.offset_data + 5,
        "in an mp4": mp4.offset_data + 5, "between two samples": text.offset,
    }[place]  # fmt: skip
    cut(done, key, offset)
    found, damaged = read(done)
    kept = 0 if place == "at its start" else 2
    assert found[:kept] == whole[:kept]
    assert len(found) + len(damaged) == len(whole), "every sample is either read or named"
    named = [sample.name for sample in damaged if "#" not in sample.name]
    assert named == ([whole[2]] if place in ("in a JSON", "in an mp4") else [])


def test_a_tar_that_is_gone_costs_all_its_samples(done: Store) -> None:
    key, count = first_tar(done), len(read(done)[0])
    done.delete(key)
    found, damaged = read(done)
    assert len(found) + len(damaged) == count
    assert {sample.reason for sample in damaged} == {"its tar is not there"}


def test_a_damaged_set_is_written_again_as_the_error_says(done: Store) -> None:
    before, key = digests(Path(done.root) / "shards"), first_tar(done)
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
