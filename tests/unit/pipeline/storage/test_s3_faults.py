"""A store on S3 behind a proxy that makes faults: what passes is tried again, what is refused is one sentence."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from pipeline.bench.s3_counts import S3Proxy
from pipeline.config import DownloadConfig
from pipeline.download.attempt import AttemptContext, DownloadTask, attempt
from pipeline.errors import StoreError, UserError
from pipeline.sources.folder import FolderSource
from pipeline.storage import tables
from pipeline.storage.s3_options import retry_seconds
from pipeline.storage.s3_problems import problem_of_table, sentence
from pipeline.storage.s3_requests import S3Requests
from pipeline.storage.store import Store
from pipeline.usage import used

pytestmark = pytest.mark.timeout(120)
SECRETS = {"key": "AKIASECRETKEYOFOURS", "secret": "SECRET/of+ours", "token": "SECRET-token-of-ours"}
PASSING: list[Any] = [
    {"fault": "reset"},
    {"fault": "lost"},
    {"fault": "cut"},
    {"fault": "SlowDown", "status": 503},
    {"fault": "InternalError", "status": 500},
]
REFUSED: list[tuple[Any, str]] = [
    ({"fault": "NoSuchBucket", "status": 404}, r"there is no bucket 'lampworks-test': create it, or name another"),
    ({"fault": "AccessDenied", "status": 403}, r"is refused \(AccessDenied\): these credentials need s3:ListBucket"),
    ({"fault": "ExpiredToken", "status": 400}, r"the session token has expired .* set AWS_ACCESS_KEY_ID"),
    ({"fault": "InvalidAccessKeyId", "status": 403}, r"the credentials are not accepted \(InvalidAccessKeyId\)"),
    ({"fault": "SignatureDoesNotMatch", "status": 403}, r"the credentials are not accepted"),
    ({"fault": "RequestTimeTooSkewed", "status": 403}, r"the clock of this machine is wrong.* set the clock \(NTP\)"),
    (
        {
            "fault": "AuthorizationHeaderMalformed",
            "status": 400,
            "text": "the region 'us-east-1' is wrong; expecting 'eu-west-1'",
        },
        r"bucket 'lampworks-test' is in another region .*: set AWS_REGION=eu-west-1",
    ),
    ({"fault": "XMinioStorageFull", "status": 507}, r"the store is full .* free space"),
]


@pytest.fixture
def proxy(s3_proxy: S3Proxy) -> S3Proxy:
    return s3_proxy


@pytest.fixture
def remote(proxy: S3Proxy, s3_options: dict[str, str]) -> Iterator[Store]:
    """A store of its own whose requests go through the proxy."""
    options = {**s3_options, **SECRETS, "endpoint_url": proxy.url, "retry_s": "20"}
    proxy.faults()
    yield Store(f"s3://lampworks-test/{uuid.uuid4().hex[:8]}", options)
    proxy.faults()


def request(store: Store, number: int) -> int:
    return store.append(
        "takedowns",
        [{"takedown_id": f"t{number}", "kind": "video", "reason": "x", "requested_at": datetime.now(UTC)}],
    )


def ids(store: Store) -> list[str]:
    return sorted(store.read("takedowns", ["takedown_id"])["takedown_id"].to_pylist())


def test_a_request_for_a_blob_that_breaks_is_made_again(proxy: S3Proxy, remote: Store) -> None:
    data = bytes(range(256)) * 40
    remote.write_blob("a/b", data)
    for fault in PASSING:
        proxy.faults({**fault, "operation": "PUT object", "first": 1})
        remote.write_blob("a/b", data)
        for operation, ask, answer in (
            ("GET object", lambda: remote.read_blob("a/b"), data),
            ("LIST", lambda: remote.list_blobs("a"), ["a/b"]),
            ("HEAD object", lambda: remote.exists("a/b"), True),
            ("DELETE object", lambda: remote.delete("none"), None),
        ):
            proxy.faults({**fault, "operation": operation, "first": 1})
            assert ask() == answer, (fault, operation)  # type: ignore[func-returns-value]
            breaks = fault["fault"] != "cut" or operation in {"GET object", "LIST"}
            assert proxy.counts()[f"{operation}, blobs"] == (2 if breaks else 1), (fault, operation)


def test_a_store_that_stays_away_ends_the_work_after_the_time_that_is_set(
    proxy: S3Proxy, remote: Store, s3_options: dict[str, str]
) -> None:
    impatient = Store(remote.root, {**remote.storage_options, "retry_s": "0.3"})
    proxy.faults({"fault": "SlowDown", "status": 503})
    for ask in (lambda: impatient.read_blob("x"), lambda: impatient.read("takedowns")):
        with pytest.raises(StoreError, match=r"failed .*SlowDown|made by a test.*run again") as caught:
            ask()
        assert caught.value.passing
    nobody = Store(remote.root, {**s3_options, "endpoint_url": "http://127.0.0.1:9", "retry_s": "0.3"})
    for ask in (lambda: nobody.read_blob("x"), lambda: nobody.read("takedowns")):
        with pytest.raises(StoreError, match=r"its address \(endpoint_url\) is right, then run again"):
            ask()
    with pytest.raises(UserError, match="retry_s 'soon': a number of seconds"):
        retry_seconds({"retry_s": "soon"})


def test_what_a_store_refuses_is_one_sentence_with_its_fix_and_without_credentials(
    proxy: S3Proxy, remote: Store
) -> None:
    # delta-rs tries a full store again, as long as any other answer of 500 and more
    remote = Store(remote.root, {**remote.storage_options, "retry_s": "0.3"})
    asks: list[Callable[[], object]] = [
        lambda: remote.read_blob("x"),
        lambda: remote.write_blob("x", b"x"),
        lambda: remote.list_blobs(""),
        lambda: remote.read("takedowns"),
    ]
    for fault, told in REFUSED:
        proxy.faults(fault)
        # a HEAD has no answer that could tell a bucket from an object that is not there
        heads = [] if fault["fault"] == "NoSuchBucket" else [lambda: remote.exists("x")]
        for ask in [*asks, *heads]:
            with pytest.raises(StoreError, match=told) as caught:
                ask()
            error: BaseException = caught.value
            assert not any(secret in str(error) for secret in SECRETS.values()), str(error)
            # what a traceback or Dagster would show of it
            assert error.__cause__ is None
            assert error.__suppress_context__
    proxy.faults()
    assert remote.list_blobs("") == []


def test_rows_are_appended_once_whatever_becomes_of_the_answer(proxy: S3Proxy, remote: Store) -> None:
    request(remote, 0)
    put = {"operation": "PUT object", "kind": "log", "first": 1}
    faults = [
        {"fault": "lost", **put},
        {"fault": "reset", **put},
        {"fault": "InternalError", "status": 500, "reaches": True, **put},
    ]
    for number, fault in enumerate(faults, 1):
        proxy.faults(fault)  # type: ignore[arg-type]
        request(remote, number)
    proxy.faults()
    assert ids(remote) == [f"t{number}" for number in range(4)]


def test_an_append_that_landed_and_met_itself_is_not_made_again(remote: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    request(remote, 0)
    write, calls = tables.write_deltalake, list[str]()

    def met_itself(*args: Any, **options: Any) -> None:
        calls.append("append")
        write(*args, **options)
        if len(calls) == 1:
            raise CommitFailedError("version 1 already exists")

    monkeypatch.setattr(tables, "write_deltalake", met_itself)
    request(remote, 1)
    assert ids(remote) == ["t0", "t1"]
    assert calls == ["append"]

    # one that another writer was faster than is made again
    def too_late(*args: Any, **options: Any) -> None:
        monkeypatch.setattr(tables, "write_deltalake", write)
        raise CommitFailedError("version 2 already exists")

    monkeypatch.setattr(tables, "write_deltalake", too_late)
    request(remote, 2)
    assert ids(remote) == ["t0", "t1", "t2"]


def test_rows_whose_deletion_was_not_answered_are_counted(remote: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"kind": "video", "reason": "x", "requested_at": datetime.now(UTC)}
    remote.append("takedowns", [{"takedown_id": f"t{number}", **about} for number in range(3)])
    delete, calls = DeltaTable.delete, list[str]()

    def unanswered(self: DeltaTable, *args: Any, **options: Any) -> dict[str, Any]:
        calls.append("delete")
        found: dict[str, Any] = delete(self, *args, **options)
        if len(calls) == 1:
            raise StoreError("no answer", passing=True)
        return found

    monkeypatch.setattr(DeltaTable, "delete", unanswered)
    assert remote.delete_rows("takedowns", "takedown_id", ["t0", "t2", "none"]) == 2
    assert (ids(remote), calls) == (["t1"], ["delete"])


def test_objects_that_one_deletion_of_many_leaves_are_deleted_again(
    proxy: S3Proxy, remote: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"a/{number}" for number in range(4)]
    for key in keys:
        remote.write_blob(key, b"x")
    proxy.faults()
    answers = [
        [{"Key": "k0", "Code": "InternalError"}, {"Key": "k1", "Code": "SlowDown"}],
        [{"Key": "k1", "Code": "503"}, {"Key": "k0", "Code": "NoSuchKey"}],
    ]
    once, asked = S3Requests.once, list[list[str]]()

    def troubled(self: S3Requests, operation: str, **parameters: Any) -> dict[str, Any]:
        if operation == "delete_objects":
            left = [one["Key"] for one in parameters["Delete"]["Objects"]]
            asked.append(left)
            if answers:
                names = {"k0": left[0], "k1": left[-1]}
                return {"Errors": [{**error, "Key": names[error["Key"]]} for error in answers.pop(0)]}
        return once(self, operation, **parameters)

    monkeypatch.setattr(S3Requests, "once", troubled)
    remote.delete_all(keys)
    prefix = remote.root.rpartition("/")[2]
    assert asked[1:] == [[f"{prefix}/a/0", f"{prefix}/a/3"], [f"{prefix}/a/3"]]
    answers.append([{"Key": "k0", "Code": "SlowDown"}, {"Key": "k1", "Code": "AccessDenied"}])
    with pytest.raises(StoreError, match=r"a/3 cannot be deleted \(AccessDenied\): give .* s3:DeleteObject"):
        remote.delete_all(keys)
    assert len(asked) == 4, "a refusal is not tried again"


def test_one_counter_has_every_request_for_blobs_also_those_made_again(proxy: S3Proxy, remote: Store) -> None:
    proxy.faults({"fault": "SlowDown", "status": 503, "operation": "GET object", "first": 2})
    before = used()
    remote.write_blob("a", b"12345")
    assert remote.read_blob("a") == b"12345"
    assert not remote.exists("b")
    remote.delete("a")
    spent = used() - before
    assert spent.requests == sum(proxy.counts().values()) == 6
    assert (spent.bytes_read, spent.bytes_written) == (5, 5)


def test_a_folder_in_a_store_that_is_away_costs_its_videos_no_attempt(
    proxy: S3Proxy, remote: Store, tmp_path: Path
) -> None:
    remote.write_blob("a.mp4", b"x")
    impatient = FolderSource(remote.root, {**remote.storage_options, "retry_s": "0.1"})
    video = {"video_id": "v", "source": "folder", "url": f"{remote.root}/a.mp4"}
    task = DownloadTask(video, 1, 0)
    context = AttemptContext(impatient, Store(tmp_path / "root"), DownloadConfig(), "b", tmp_path)
    for fault in ({"fault": "SlowDown", "status": 503}, {"fault": "ExpiredToken", "status": 400}):
        proxy.faults(fault)  # type: ignore[arg-type]
        with pytest.raises(StoreError, match=r"SlowDown|made by a test|expired"):
            attempt(task, context)
    # one object that these credentials may not read is one video's matter
    refused: Any = {"fault": "AccessDenied", "status": 403, "operation": "GET object"}
    proxy.faults(refused)
    row = attempt(task, context).row
    assert (row["state"], row["error_class"]) == ("pending", "transient")
    remote.write_blob("b.mp4", b"x")
    proxy.faults({**refused, "first": 1})
    row = attempt(task, context).row
    assert (row["state"], row["error_class"]) == ("pending", "transient")
    # where they may read no other one either, no video is at fault
    proxy.faults(refused)
    with pytest.raises(StoreError, match=r"is refused \(AccessDenied\): these credentials need"):
        attempt(task, context)


@pytest.mark.slow
def test_every_fault_that_passes_leaves_a_table_as_it_should_be(proxy: S3Proxy, remote: Store) -> None:
    for number, fault in enumerate(PASSING):
        for kind in ("log", "rows"):
            proxy.faults({**fault, "kind": kind, "first": 2})
            request(remote, 2 * number + (kind == "rows"))
            proxy.faults({**fault, "kind": kind, "first": 2})
            assert len(ids(remote)) == 2 * number + (kind == "rows") + 1, (fault, kind)


@pytest.mark.slow
def test_a_store_that_hangs_is_asked_again(proxy: S3Proxy, remote: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.storage import s3_requests

    monkeypatch.setattr(s3_requests, "_READ_S", 1.0)
    s3_requests._client.cache_clear()
    remote.write_blob("a", b"x")
    proxy.faults({"fault": "hang", "hang_s": 5.0, "operation": "GET object", "first": 1})
    assert remote.read_blob("a") == b"x"
    s3_requests._client.cache_clear()


def test_a_commit_of_another_process_is_seen_at_once(remote: Store) -> None:
    other = Store(remote.root, remote.storage_options)
    assert remote.list_blobs("a") == []
    assert not remote.exists("a/b")
    other.write_blob("a/b", b"1")
    assert remote.exists("a/b")
    assert remote.list_blobs("a") == ["a/b"]
    other.delete("a/b")
    assert not remote.exists("a/b")


def test_texts_of_delta_are_understood_without_a_server() -> None:
    refused = "Generic S3 error: Error performing GET http://h:4403/b in 3ms - Server returned non-2xx status: {}"
    for text, code, passing in (
        (refused.format("403 Forbidden"), "AccessDenied", False),
        (refused.format("503 Service Unavailable: <Code>SlowDown</Code>"), "SlowDown", True),
        ("Generic S3 error: Error performing PUT http://h:4403/b - error sending request: connection reset", "", True),
        ("Generic S3 error: Received redirect without LOCATION, this normally indicates a region", "", False),
        (refused.format("503 Service Unavailable: <Code>XMinioServerNotInitialized</Code>"), "", True),
        (refused.format("502 Bad Gateway: <Code>BadGateway</Code>"), "", True),
        (refused.format("501 Not Implemented: <Code>NotImplemented</Code>"), "NotImplemented", False),
        (refused.format("507 Insufficient Storage: <Code>XMinioStorageFull</Code>"), "XMinioStorageFull", False),
        ("the credential provider was not enabled", "NoCredentials", False),
    ):
        problem = problem_of_table(OSError(text))
        assert problem is not None, text
        assert problem.passing == passing, text
        assert not code or problem.code == code, text
        assert "\n" not in sentence("s3://b/x", None, "reading", problem)
    assert problem_of_table(OSError("Parquet file size is 0 bytes")) is None
    repeats = "Generic S3 error: <Code>Odd</Code><Message>AKIASECRETKEYOFOURS may not Signature=abc</Message>"
    problem = problem_of_table(OSError(repeats))
    assert problem is not None
    assert "SECRET" not in sentence("s3://b/x", None, "reading", problem)


@pytest.mark.slow
def test_writers_of_one_table_lose_no_row_and_write_none_twice(proxy: S3Proxy, remote: Store) -> None:
    def write(writer: int) -> None:
        mine = Store(remote.root, remote.storage_options)
        for number in range(4):
            request(mine, 10 * writer + number)

    # some of the answers are lost on the way
    proxy.faults({"fault": "lost", "operation": "PUT object", "kind": "log", "first": 3})
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    assert ids(remote) == sorted(f"t{10 * writer + number}" for writer in range(3) for number in range(4))
