"""Large objects on S3 go in parts and come in ranges; the requests for each piece of work are bounded."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import numpy as np
import pytest

from pipeline.bench.s3_counts import S3Proxy
from pipeline.errors import StoreError
from pipeline.inspect import gc
from pipeline.inspect.gc import collect_garbage
from pipeline.storage import s3_files, s3_reads, s3_uploads
from pipeline.storage.store import Store

pytestmark = pytest.mark.timeout(120)
PART = 5 << 20
"""The least that S3 takes as a part."""


@pytest.fixture
def proxy(s3_proxy: S3Proxy) -> S3Proxy:
    return s3_proxy


@pytest.fixture
def remote(proxy: S3Proxy, s3_options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(s3_reads, "PART", PART)
    monkeypatch.setattr(s3_uploads, "PART", PART)
    monkeypatch.setattr(s3_uploads, "WHOLE", PART)
    proxy.faults()
    return Store(f"s3://lampworks-test/{uuid.uuid4().hex[:8]}", {**s3_options, "endpoint_url": proxy.url})


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.bin"
    path.write_bytes(np.random.default_rng(0).bytes(2 * PART + 1000))
    return path


def test_a_large_object_goes_in_parts_and_comes_in_ranges(
    proxy: S3Proxy, remote: Store, large: Path, tmp_path: Path
) -> None:
    proxy.faults(
        {"fault": "reset", "operation": "PUT part", "first": 1},
        {"fault": "lost", "operation": "end upload", "first": 1},
        {"fault": "cut", "operation": "GET object", "first": 2},
    )
    remote.put_file("a.bin", large)
    counts = proxy.counts()
    assert counts["begin upload, blobs"] == 1
    assert counts["PUT part, blobs"] == 4
    assert "PUT object, blobs" not in counts
    remote.copy_to("a.bin", tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == large.read_bytes()
    assert proxy.counts()["GET object, blobs"] == 3 + 2
    assert remote.read_range("a.bin", PART - 10, 20) == large.read_bytes()[PART - 10 : PART + 10]
    with remote.open_blob("a.bin") as file:
        file.seek(-1000, 2)
        assert file.read() == large.read_bytes()[-1000:]
    assert remote.list_blobs("") == ["a.bin"]


def test_an_upload_that_cannot_end_leaves_nothing_that_anybody_sees(proxy: S3Proxy, remote: Store, large: Path) -> None:
    proxy.faults({"fault": "AccessDenied", "status": 403, "operation": "end upload"})
    with pytest.raises(StoreError, match=r"CompleteMultipartUpload of a\.bin is refused"):
        remote.put_file("a.bin", large)
    assert remote.list_blobs("") == []
    assert not remote.exists("a.bin")
    assert remote.unfinished_uploads(datetime.now(UTC) + timedelta(days=1)) == []


def test_a_copy_in_parts_is_whole_or_leaves_nothing(
    proxy: S3Proxy, remote: Store, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_files, "_COPY_WHOLE", PART)
    monkeypatch.setattr(s3_files, "_COPY_PART", PART)
    remote.put_file("a.bin", large)
    proxy.faults({"fault": "AccessDenied", "status": 403, "operation": "PUT part", "after": 3})
    with pytest.raises(StoreError, match=r"UploadPartCopy of a\.bin is refused"):
        remote.move("a.bin", "b.bin")
    assert remote.list_blobs("") == ["a.bin"]
    assert remote.unfinished_uploads(datetime.now(UTC) + timedelta(days=1)) == []
    proxy.faults({"fault": "lost", "operation": "end upload", "first": 1})
    remote.move("a.bin", "b.bin")
    assert remote.list_blobs("") == ["b.bin"]
    remote.copy_to("b.bin", tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == large.read_bytes()


def test_an_upload_that_a_killed_process_left_is_garbage_after_a_day(
    remote: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert remote._s3 is not None
    remote._s3._requests.send(
        "create_multipart_upload", "x", Bucket="lampworks-test", Key=f"{remote._s3.prefix}/raw/b/left.mp4"
    )
    # the server on loopback says of every upload that it began in 2010
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.inspect.gc._AN_UPLOAD_TAKES", timedelta(days=365 * 100))
        assert collect_garbage(remote, dry_run=True) == []
    assert collect_garbage(remote, dry_run=True) == ["raw/b/left.mp4 (an upload that never ended)"]
    assert collect_garbage(remote, dry_run=False) == ["raw/b/left.mp4 (an upload that never ended)"]
    assert collect_garbage(remote, dry_run=True) == []


def test_each_piece_of_work_takes_few_requests(proxy: S3Proxy, remote: Store) -> None:
    def cost() -> dict[str, int]:
        found = proxy.counts()
        proxy.faults()
        return found

    remote.write_blob("raw/b/a.mp4", b"x" * 100)
    assert cost() == {"PUT object, blobs": 1}
    remote.read_range("raw/b/a.mp4", 5, 10)
    assert cost() == {"GET object, blobs": 1}
    remote.read_blob("raw/b/a.mp4")
    remote.sha256("raw/b/a.mp4")
    assert cost() == {"GET object, blobs": 2}
    assert not remote.exists("raw/b/none.mp4")
    assert cost() == {"HEAD object, blobs": 1}
    remote.list_blobs("raw")
    remote.stat_blobs("raw")
    remote.list_folders("")
    assert cost() == {"LIST, blobs": 3}
    remote.delete("raw/b/none.mp4")
    assert cost() == {"DELETE object, blobs": 1}
    remote.delete_all([f"raw/b/{number}" for number in range(1000)])
    assert cost() == {"DELETE many, blobs": 1}


@pytest.mark.slow
def test_a_table_costs_no_more_with_its_twentieth_commit_than_with_its_tenth(proxy: S3Proxy, remote: Store) -> None:
    costs = []
    for number in range(21):
        proxy.faults()
        remote.append(
            "takedowns",
            [{"takedown_id": f"t{number}", "kind": "video", "reason": "x", "requested_at": datetime.now(UTC)}],
        )
        costs.append(sum(proxy.counts().values()))
    usual = sorted(costs)[len(costs) // 2]
    assert usual <= 40
    # a checkpoint every tenth commit is dearer, and grows with the number of files until they are compacted
    assert sorted(costs)[-3] <= 45
    proxy.faults()
    assert remote.version("takedowns") == 20
    assert sum(proxy.counts().values()) == 2


def test_gc_ends_an_unfinished_upload_and_keeps_the_object_of_its_key(
    remote: Store, s3_options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "labels/queue.json"
    client = boto3.client(
        "s3", endpoint_url=s3_options["endpoint_url"], aws_access_key_id="test", aws_secret_access_key="test",
        region_name="us-east-1",
    )  # fmt: skip
    bucket, prefix = remote.root.removeprefix("s3://").split("/", 1)
    client.create_multipart_upload(Bucket=bucket, Key=f"{prefix}/{key}")
    remote.write_blob(key, b"published")
    monkeypatch.setattr(gc, "_AN_UPLOAD_TAKES", timedelta(days=-1))
    assert collect_garbage(remote, dry_run=True) == [f"{key} (an upload that never ended)"]
    collect_garbage(remote, dry_run=False)
    assert remote.read_blob(key) == b"published"
    assert collect_garbage(remote, dry_run=True) == []
