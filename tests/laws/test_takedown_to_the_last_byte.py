"""A takedown leaves nothing of a video in the root and its home, and every other byte as it was.

On the root in which every stage ran once, with what people and other programs add to it: labels of the page, an
unfinished search, Dagster's logs, a killed download, files that a mending set aside.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest

from classifier.labels.journal import Journal, check_event
from classifier.labels.queue import load_queue
from pipeline.actions.table import SUFFIX, read_table
from pipeline.bench.s3_counts import S3Proxy
from pipeline.inspect.deep import find_faults
from pipeline.inspect.gc import collect_garbage
from pipeline.inspect.status import status
from pipeline.job import Job
from pipeline.shards.actions import clips_of
from pipeline.shards.read import current_shards, read_samples
from pipeline.shards.verify import verify_shards
from pipeline.shards.write import shards_are_current, write_shards
from pipeline.storage.arrow import pc
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from pipeline.takedown.mentions import MARK
from pipeline.takedown.receipt import Receipt, receipt_key
from pipeline.takedown.takedown import take_down
from pipeline.takedown.targets import find_target
from tests.grep import digests, find_bytes, found_in
from tests.laws.stages import World


def needles_of(store: Store, video_id: str) -> list[bytes]:
    """Return what must not be found: names, hashes, and bytes out of the middle of each medium."""
    mine = pc.field("video_id") == video_id
    (video,) = store.read("videos", None, mine).to_pylist()
    names = [video[name] for name in ("video_id", "native_id", "url", "title")]
    hashes: list[str] = []
    media: list[bytes] = []
    for row in store.read("downloads", None, mine & (pc.field("state") == "ok")).to_pylist():
        hashes.append(row["sha256"])
        media.append(_middle(store.read_blob(row["path"])))
    for row in store.read("clips", None, mine).to_pylist():
        hashes.append(row["sha256"])
        media.append(_middle(store.read_range(row["tar"], row["offset"], row["size"])))
        media.append(_middle(store.read_range(row["tar"], row["frames_offset"], row["frames_size"])))
        media.append(row["hashes"])
    return [*(name.encode() for name in names + hashes), *media]


def _middle(data: bytes) -> bytes:
    return data[len(data) // 2 :][:48]


def add_what_others_write(store: Store, video_id: str, other_id: str) -> None:
    """Add to a home what the labelling page, a search, Dagster, a killed download and a mending leave of two videos."""
    home = home_of(store)
    rows = {row["video_id"]: row for row in store.read("videos").to_pylist()}
    clips = store.read("clips").to_pylist()
    journal = Journal(home.journal)
    for number, one in enumerate((video_id, other_id)):
        clip_id = next(row["clip_id"] for row in clips if row["video_id"] == one)
        event_id = f"00000000-0000-0000-0000-00000000000{number}"
        event = {"event_id": event_id, "clip_id": clip_id, "kind": "rate", "rating": 4, "stream": "", "seconds": 1.0}
        journal.append([check_event(event)], "ann")
    journal._db.close()
    lines = [json.dumps({"at": 1.0, **{k: str(v) for k, v in rows[one].items()}}) for one in (video_id, other_id)]
    home.search_journal.write_text("\n".join(lines) + "\n", "utf-8")
    events = home.dagster / "history" / "runs.db"
    events.parent.mkdir(parents=True)
    with closing(sqlite3.connect(events)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE event_logs (id INTEGER PRIMARY KEY, event TEXT)")
        texts = [(json.dumps({"failures": [one, rows[one]["url"]]}),) for one in (video_id, other_id)]
        database.executemany("INSERT INTO event_logs (event) VALUES (?)", texts)
        database.commit()
    log = home.dagster / "storage" / "run" / "compute_logs" / "x.err"
    log.parent.mkdir(parents=True)
    log.write_text(f"cut {video_id}\ncut {other_id}\n", "utf-8")
    raw = store.read("downloads", ["path"], pc.field("video_id") == video_id)["path"].to_pylist()[0]
    killed = home.tmp / "download-999999999-1-abcdef" / "0" / "level.mp4.part"
    killed.parent.mkdir(parents=True)
    killed.write_bytes(store.read_blob(raw))
    store.write_blob(f"damaged/2026-11-26T00-00-00Z-0000/{raw}", store.read_blob(raw))
    store.write_blob(raw.replace("raw/", "raw/.tmp-unknown-"), b"")
    store.delete(raw.replace("raw/", "raw/.tmp-unknown-"))


def job_on(root: Path, world: World) -> Job:
    store = Store(root)
    return Job(store, world.config, home_of(store))


def copied(world: World, root: Path, video_id: str) -> tuple[Job, str]:
    """Return a job on a copy of the finished root with what others write, and the id of another video of it."""
    shutil.copytree(world.finished.root, root)
    job = job_on(root, world)
    kept = job.store.read("curated", ["video_id"], pc.field("decision") == "keep")["video_id"].unique().to_pylist()
    other = min(name for name in kept if name != video_id)
    add_what_others_write(job.store, video_id, other)
    return job, other


def rows_of_others(store: Store, video_id: str) -> dict[str, list[str]]:
    """Return the rows of each table that are about other videos alone."""
    found = {}
    for table in (
        "videos",
        "downloads",
        "clippings",
        "clips",
        "embeddings",
        "labels",
        "scores",
        "curated",
        "uncovered",
    ):
        rows = store.read(table).to_pylist()
        found[table] = sorted(str(row) for row in rows if video_id not in str(row) and MARK not in str(row))
    return found


@pytest.mark.parametrize("split", ["train", pytest.param("val", marks=pytest.mark.slow)])
def test_nothing_of_the_video_is_left_and_every_other_byte_stays(split: str, world: World, tmp_path: Path) -> None:
    video_id = world.video(split)
    job, other = copied(world, tmp_path / "root", video_id)
    store, needles = job.store, needles_of(job.store, video_id)
    of_other = needles_of(store, other)
    assert found_in(Path(store.root), needles) == set(needles), "each is there before"
    assert {key.partition("/")[0] for key in actions_of(store, video_id)} == {"clips", "shards"}
    before, rows = digests(Path(store.root)), rows_of_others(store, video_id)
    bystanders = {
        key for key in before if key.startswith(("raw/", "clips/", "shards/")) and key.endswith((".mp4", ".tar"))
    }

    receipt = take_down(job, find_target(store, video_id), f"the owner of {video_id} asked")

    assert receipt.finished, receipt.left
    assert find_bytes(Path(store.root), needles) == []
    assert actions_of(store, video_id) == []
    assert actions_of(store, other)
    after = digests(Path(store.root))
    gone = bystanders - after.keys()
    assert {key.partition("/")[0] for key in gone} == {"raw", "clips", "shards"}
    assert {key: after[key] for key in bystanders - gone} == {key: before[key] for key in bystanders - gone}
    assert len([key for key in gone if key.startswith("shards/")]) == len(receipt.tars_rewritten) == 1
    assert [key for key in after if key.endswith(".g2.tar")] == receipt.tars_rewritten
    assert rows_of_others(store, video_id) == rows
    assert found_in(Path(store.root), of_other) == set(of_other), "the other video lost nothing"
    check_sound(job)
    assert take_down(job, find_target(store, video_id), "asked once more") == receipt
    assert _settled(digests(Path(store.root))) == _settled(after), "the same command again changes nothing"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_on_s3_no_object_holds_anything_of_the_video_and_requests_are_bounded(
    world: World, tmp_path: Path, s3_options: dict[str, str], s3_proxy: S3Proxy
) -> None:
    video_id = world.video("train")
    local, other = copied(world, tmp_path / "root", video_id)
    needles, of_other = needles_of(local.store, video_id), needles_of(local.store, other)
    remote = Store(f"s3://{_versioned_bucket(s3_options)}/root", s3_options)
    for key in local.store.list_blobs(""):
        if not key.startswith(_OF_A_HOME) and not key.endswith("_checksums"):
            remote.put_file(key, Path(local.store.url(key)))
    assert found_in(_fetched(remote, tmp_path / "before"), needles) == set(needles), "each is there before"
    counted = Store(remote.root, {**s3_options, "endpoint_url": s3_proxy.url})
    job = Job(counted, local.config, home_of(counted, tmp_path / "home"))
    s3_proxy.faults()

    receipt = take_down(job, find_target(counted, video_id), "asked")

    requests, tables = sum(s3_proxy.counts().values()), len(remote.list_folders("tables"))
    assert receipt.finished, receipt.left
    assert any("keeps older versions of deleted objects" in sentence for sentence in receipt.out_of_reach)
    after = _fetched(remote, tmp_path / "after")
    assert find_bytes(after, needles) == []
    assert found_in(after, of_other) == set(of_other), "the other video lost nothing"
    assert status(remote, job.config).violations == []
    assert requests <= 130 * tables, s3_proxy.counts()
    s3_proxy.faults()
    assert take_down(job, find_target(counted, video_id), "asked once more") == receipt
    assert sum(s3_proxy.counts().values()) <= 65 * tables, s3_proxy.counts()


_OF_A_HOME = ("dagster/", "tmp/", "labels.sqlite", "search.jsonl", "limits.sqlite", "lock", "takedown.lock")
"""What a folder holds as root and home, and a bucket does not."""


def _versioned_bucket(options: dict[str, str]) -> str:
    """Make a bucket that keeps older versions, and return its name."""
    bucket, names = "lampworks-takedown", ("endpoint_url", "key", "secret", "region")
    address, key, secret, region = (options[name] for name in names)
    client = boto3.client(
        "s3", endpoint_url=address, aws_access_key_id=key, aws_secret_access_key=secret, region_name=region
    )
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.close()
    return bucket


def _fetched(store: Store, folder: Path) -> Path:
    """Copy every object of a root to a folder, and return that."""
    for key in store.list_blobs(""):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        store.copy_to(key, folder / key)
    return folder


def actions_of(store: Store, video_id: str) -> list[str]:
    """Return the blobs that hold true actions of a video."""
    keys = [key for folder in ("clips", "shards") for key in store.list_blobs(folder) if key.endswith(SUFFIX)]
    return [key for key in keys if any(clip.startswith(video_id) for clip in clips_of(read_table(store, key)))]


def _settled(files: dict[str, str]) -> dict[str, str]:
    """Leave out what a reader of a SQLite database writes beside it."""
    return {name: digest for name, digest in files.items() if not name.endswith(("-wal", "-shm"))}


def check_sound(job: Job) -> None:
    """Check that all totals balance, no file is damaged, and the published set is the one that the next pass plans."""
    store = job.store
    assert status(store, job.config).violations == []
    assert find_faults(store, job.home) == []
    assert shards_are_current(store, job.config)
    assert verify_shards(store).damaged == []
    version = current_shards(store)
    assert version is not None
    assert all(sample.read_mp4(store) for split in ("train", "val") for sample in read_samples(store, version, split))
    assert write_shards(job).written is False
    load_queue(store)
    listed = json.loads(store.read_blob(f"shards/{version}/manifest.json"))["shards"]
    assert sorted(shard["path"] for shard in listed) == sorted(store.read("shards", ["path"])["path"].to_pylist())


@pytest.mark.slow
def test_the_receipt_says_which_models_had_seen_it(world: World, tmp_path: Path) -> None:
    rows = world.finished.read("models").to_pylist()
    held = {split: _receipt(world, tmp_path / split, split) for split in ("train", "val")}
    trained = {one.kind: one.how for one in held["train"].models}
    assert trained["video_tokenizer"] == trained["world_model"] == trained["quality_classifier"] == "trained"
    assert {one.kind: one.how for one in held["val"].models}["world_evaluation"] == "measured"
    (tokenizer,) = [row["model_id"] for row in rows if row["kind"] == "video_tokenizer"]
    assert held["val"].last_unseen["video_tokenizer"] == tokenizer
    assert "video_tokenizer" not in held["train"].last_unseen
    assert held["train"].unfinished_runs
    for receipt in held.values():
        assert receipt.shards_before == current_shards(world.finished) != receipt.shards_after
        assert list(receipt.shard_versions) == [receipt.shards_before]


def _receipt(world: World, root: Path, split: str) -> Receipt:
    shutil.copytree(world.finished.root, root)
    job = job_on(root, world)
    receipt = take_down(job, find_target(job.store, world.video(split)), "asked")
    assert json.loads(job.store.read_blob(receipt_key(receipt.takedown_id))) == receipt.to_json()
    # what is garbage now is not what says which model saw what: a later takedown is answered too
    collect_garbage(job.store, dry_run=False)
    version = str(receipt.shards_before)
    kept = job.store.list_blobs(f"shards/{version}")
    assert f"shards/{version}/manifest.json" in kept
    other = next(name for name in sorted(world.native) if name in _in_shards(job.store))
    later = take_down(job, find_target(job.store, other), "asked too")
    assert version in later.shard_versions
    assert len(later.tars_rewritten) == 1
    return receipt


def _in_shards(store: Store) -> set[str]:
    version = str(current_shards(store))
    return {sample.origin["video_id"] for split in ("train", "val") for sample in read_samples(store, version, split)}


class KilledError(BaseException):
    """Stands for a signal that ends the process."""


class DyingStore(Store):
    """A store whose process is killed before its n-th change."""

    def __init__(self, root: str | Path, after: int) -> None:
        super().__init__(root)
        self.left, self.changes = after, 0

    def _change_counts(self) -> None:
        self.changes += 1
        self.left -= 1
        if self.left < 0:
            raise KilledError

    def delete(self, key: str) -> None:
        self._change_counts()
        super().delete(key)

    def write_blob(self, key: str, data: bytes) -> None:
        self._change_counts()
        super().write_blob(key, data)

    def _commit(self, name: str, commit: Any, mark: str | None = None) -> None:
        self._change_counts()
        super()._commit(name, commit, mark)


def _killed_and_finished(world: World, root: Path, kill_points: Iterable[int]) -> None:
    video_id = world.video("train")
    for after in kill_points:
        job, _ = copied(world, root / str(after), video_id)
        needles, dying = needles_of(job.store, video_id), DyingStore(job.store.root, after)
        with pytest.raises(KilledError):
            take_down(Job(dying, job.config, job.home), find_target(dying, video_id), "asked")
        assert take_down(job, find_target(job.store, video_id), "asked").finished
        assert find_bytes(Path(job.store.root), needles) == [], f"killed before change {after}"
        check_sound(job)
        shutil.rmtree(job.store.root)


def _changes(world: World, root: Path) -> int:
    """Return how many changes of the store a whole takedown makes."""
    video_id = world.video("train")
    job, _ = copied(world, root, video_id)
    whole = DyingStore(job.store.root, 10**9)
    take_down(Job(whole, job.config, job.home), find_target(whole, video_id), "asked")
    return whole.changes


def test_a_takedown_that_was_killed_is_finished_by_the_same_command(world: World, tmp_path: Path) -> None:
    # while shards are published, and while rows are deleted
    _killed_and_finished(world, tmp_path, (6, 30))


@pytest.mark.slow
def test_a_takedown_may_be_killed_anywhere(world: World, tmp_path: Path) -> None:
    changes = _changes(world, tmp_path / "whole")
    # beside the points of the test above, three that are spread over all changes
    _killed_and_finished(world, tmp_path, sorted({round(changes * (k + 0.5) / 3) for k in range(3)}))
