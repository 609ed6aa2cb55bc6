"""Files of a folder that are no regular ones: none is waited for or read without end, and each is named and counted."""

from __future__ import annotations

import json
import logging
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from assets.graph.collect import rules_hold
from pipeline.config import ClipConfig, Config, DownloadConfig, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.errors import PermanentError
from pipeline.inspect.status import status
from pipeline.job import BatchJob, Job
from pipeline.search.batches import batches
from pipeline.search.search import search_videos
from pipeline.search.spot_check import KEY, write_spot_check
from pipeline.sources.folder import FolderSource
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests import searches

# the limit of time is a thread's, because a reader that waits for a pipe hears no signal
pytestmark = pytest.mark.timeout(120, method="thread")

ODD = {
    "pipe.mp4": "odd_file: a named pipe",
    "zero.mkv": "odd_file: a device",
    "socket.webm": "odd_file: a socket",
    "nowhere.mp4": "odd_file: a link that leads nowhere (No such file or directory)",
    "loop.mp4": "odd_file: a link that leads nowhere (Too many levels of symbolic links)",
}


@pytest.fixture
def folder(tmp_path: Path, clip_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a good video, and everything that is none beside it."""
    videos = tmp_path / "videos"
    videos.mkdir()
    monkeypatch.chdir(videos)  # a socket's path may not be long
    (videos / "good.mp4").write_bytes(clip_file.read_bytes())
    os.mkfifo("pipe.mp4")
    Path("zero.mkv").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.webm")
    Path("nowhere.mp4").symlink_to("absent")
    Path("loop.mp4").symlink_to("loop.mp4")
    return videos


def settings(folder: Path) -> Config:
    source, download = SourceConfig(spec=f"folder:{folder}", apply_rights=True), DownloadConfig(min_free_gb=0.0)
    return Config(source=source, download=download, clips=ClipConfig(seconds=2, fps=10))


@pytest.mark.usefixtures("inline")
def test_what_is_named_like_a_video_and_is_none_is_a_rejected_row_and_the_others_are_collected(
    store: Store, folder: Path
) -> None:
    job = Job(store, settings(folder), home_of(store))
    report = search_videos(job, now=searches.NOW)
    rules = {name: row["rule"] for name, row in searches.rows(store).items() if row["verdict"] == "rejected"}
    assert rules == ODD
    assert report.rejected == dict.fromkeys(ODD.values(), 1)
    assert (report.found, report.kept) == (6, 1)
    counted = status(store, job.config)
    assert counted.videos.rejected == report.rejected
    done = download_batch(BatchJob(store, job.config, job.home, batch=batches(store)[0]))
    assert (done.ok, done.failed, done.tried) == (1, {}, 1)
    write_spot_check(job)
    assert "odd_file: a named pipe" in store.read_blob(KEY).decode()


def test_an_odd_file_is_rejected_again_and_a_video_in_its_place_is_kept(
    store: Store, folder: Path, clip_file: Path
) -> None:
    search_videos(Job(store, settings(folder), home_of(store)), now=searches.NOW)
    before = searches.versions(store)
    search_videos(Job(store, settings(folder), home_of(store)))
    assert searches.versions(store)[0] == before[0]
    (folder / "pipe.mp4").unlink()
    (folder / "pipe.mp4").write_bytes(clip_file.read_bytes())
    search_videos(Job(store, settings(folder), home_of(store)))
    assert searches.rows(store)["pipe.mp4"]["verdict"] == "kept"
    assert searches.rows(store)["zero.mkv"]["rule"] == ODD["zero.mkv"]


def test_links_to_themselves_in_two_folders_end_no_search(
    store: Store, folder: Path, tmp_path: Path, clip_file: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "loop.mp4").symlink_to("loop.mp4")
    (other / "good.mp4").write_bytes(clip_file.read_bytes())
    for one in (folder, other, folder):
        search_videos(Job(store, settings(one), home_of(store)), now=searches.NOW)
    rows = store.read("videos").to_pylist()
    # no file is where the first search saw it, so it counts as moved
    assert [row["rule"] for row in rows if row["native_id"] == "loop.mp4"] == [ODD["loop.mp4"]]
    assert len([row for row in rows if row["native_id"] == "good.mp4"]) == 2
    with pytest.raises(PermanentError, match="Too many levels of symbolic links") as caught:
        FolderSource(other).fetch({"url": str(other / "loop.mp4")}, tmp_path, DownloadConfig())
    assert caught.value.error_class == "invalid_media"


def test_a_rejected_video_that_became_a_pipe_is_rejected_as_one(store: Store, folder: Path) -> None:
    (folder / "good.info.json").write_text('{"age_limit": 18}')
    search_videos(Job(store, settings(folder), home_of(store)), now=searches.NOW)
    assert searches.rows(store)["good.mp4"]["rule"] == "age:18"
    (folder / "good.mp4").unlink()
    os.mkfifo("good.mp4")
    search_videos(Job(store, settings(folder), home_of(store)))
    assert searches.rows(store)["good.mp4"]["rule"] == ODD["pipe.mp4"]


def test_a_name_that_is_given_to_a_pipe_during_the_fetch_is_copied_from_what_was_opened(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, link = (folder / "good.mp4").read_bytes(), os.link
    monkeypatch.setattr("pipeline.sources.folder.os.link", lambda path, target: link(folder / "pipe.mp4", target))
    target = tmp_path / "attempt"
    target.mkdir()
    fetched = FolderSource(folder).fetch({"url": str(folder / "good.mp4")}, target, DownloadConfig())
    assert fetched.path.is_file()
    assert fetched.path.read_bytes() == content


@pytest.mark.parametrize("place", ["pipe", "device", "socket", "folder"])
def test_a_video_that_became_something_else_after_the_search_fails_alone(
    store: Store, folder: Path, tmp_path: Path, place: str
) -> None:
    (folder / "good.mp4").unlink()
    if place == "pipe":
        os.mkfifo("good.mp4")
    elif place == "device":
        Path("good.mp4").symlink_to("/dev/zero")
    elif place == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("good.mp4")
    else:
        Path("good.mp4").mkdir()
    target = tmp_path / "attempt"
    target.mkdir()
    with pytest.raises(PermanentError, match="not a regular file") as caught:
        FolderSource(folder).fetch({"url": str(folder / "good.mp4")}, target, DownloadConfig())
    assert caught.value.error_class == "invalid_media"
    assert list(target.iterdir()) == []


def test_a_file_that_claims_no_bytes_and_has_no_end_is_not_copied(tmp_path: Path) -> None:
    fetched = FolderSource(tmp_path).fetch({"url": "/proc/self/maps"}, tmp_path, DownloadConfig())
    assert fetched.path.stat().st_size == 0


SIDECARS = {
    "pipe": (lambda path: os.mkfifo(path), "it is a named pipe, not a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "it is a device, not a regular file"),
    "folder": (lambda path: path.mkdir(), "it is a folder, not a regular file"),
    "link": (lambda path: path.symlink_to("absent"), "No such file or directory"),
    "list": (lambda path: path.write_text("[1, 2]"), "it is JSON, but no object"),
    "bytes": (lambda path: path.write_bytes(b"\xff\xfe\xff"), "codec can't decode"),
    "huge": (lambda path: (path.touch(), os.truncate(path, 1 << 40)), "it has 1048576 MB, and at most 16 MB are read"),
    "deep": (lambda path: path.write_text("[" * 100_000), "it is nested too deeply"),
}


@pytest.mark.parametrize("kind", SIDECARS)
def test_an_odd_sidecar_is_told_by_name_and_costs_neither_its_video_nor_the_others(
    store: Store, tmp_path: Path, kind: str
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (videos / name).write_bytes(b"x")
    (videos / "b.info.json").write_text(json.dumps({"title": "fine"}))
    make, why = SIDECARS[kind]
    make(videos / "a.info.json")
    report = search_videos(Job(store, settings(videos), home_of(store)), now=searches.NOW)
    assert {name: row["title"] for name, row in searches.rows(store).items()} == {"a.mp4": "a", "b.mp4": "fine"}
    (failure,) = report.failures.items()
    assert failure[0] == str(videos / "a.info.json")
    assert why in failure[1]


@pytest.mark.parametrize(
    "value", ["1e19", "1e300", "NaN", "Infinity", "-Infinity", "true", "[[[18]]]", '{"a": 18}', "9" * 5000, "-1",
              '"\\ud800"', '"' + "9" * 5000 + '"', "[" * 400 + "]" * 400, "null"],
    ids=lambda value: value[:12],
)  # fmt: skip
def test_an_odd_value_in_a_sidecar_costs_neither_its_video_nor_the_others(
    store: Store, tmp_path: Path, value: str
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (videos / name).write_bytes(b"x")
    fields = ("duration", "age_limit", "upload_date", "title", "description", "tags", "channel_id",
              "live_status", "language", "thumbnail", "width", "filesize")  # fmt: skip
    (videos / "a.info.json").write_text("{" + ", ".join(f'"{field}": {value}' for field in fields) + "}")
    report = search_videos(Job(store, settings(videos), home_of(store)), now=searches.NOW)
    rows = searches.rows(store)
    assert (report.found, report.failures, rows["b.mp4"]["verdict"]) == (2, {}, "kept")
    assert rows["a.mp4"]["duration_s"] is None
    assert rows["a.mp4"]["upload_date"] is None
    # what is beyond every age still rejects; what is no number does not
    beyond = {"1e19", "1e300", "Infinity", "9" * 5000}
    assert rows["a.mp4"]["rule"] == ("age:99" if value in beyond else "off")


def test_links_to_folders_and_folders_that_cannot_be_read_are_told(store: Store, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    (videos / "deep").mkdir(parents=True)
    (videos / "locked").mkdir()
    (videos / "good.mp4").write_bytes(b"x")
    (videos / "deep" / "again").symlink_to(videos)
    (videos / "bytes\udcff").symlink_to(videos)
    source = FolderSource(videos)
    scan = os.scandir

    def denied(folder: str) -> Any:
        if folder.endswith("locked"):
            raise PermissionError(13, "Permission denied", folder)
        return scan(folder)

    with pytest.MonkeyPatch.context() as patch:  # root may read every folder
        patch.setattr("pipeline.sources.folder_walk.os.scandir", denied)
        assert [one.native_id for one in source.search()] == ["good.mp4"]
    assert source.failures == {str(videos / "locked"): "the folder cannot be read: Permission denied"}
    back = f"a link back to {str(videos)!r}, which holds it: not entered again"
    assert source.notes == [f"{str(videos / name)!r}: {back}" for name in ("bytes?", "deep/again")]


def test_a_link_out_of_the_folder_is_read_and_named_in_the_log(
    tmp_path: Path, package_logs: pytest.LogCaptureFixture
) -> None:
    videos, elsewhere = tmp_path / "videos", tmp_path / "elsewhere"
    videos.mkdir()
    elsewhere.mkdir()
    (elsewhere / "a.mp4").write_bytes(b"bytes")
    (elsewhere / "a.json").write_text(json.dumps({"title": "linked"}))
    (videos / "a.mp4").symlink_to(elsewhere / "a.mp4")
    (videos / "a.info.json").symlink_to("../elsewhere/a.json")
    (videos / "b.mp4").write_bytes(b"bytes")
    (videos / "c.mp4").symlink_to("b.mp4")
    with package_logs.at_level(logging.WARNING):
        found = list(FolderSource(videos).search())
    assert [(one.title, one.error_class) for one in found] == [("linked", None), ("b", None), ("c", None)]
    assert package_logs.messages == [
        f"{str(videos / name)!r} is a link out of its folder, to {str(elsewhere / to)!r}: it is read"
        for name, to in (("a.info.json", "a.json"), ("a.mp4", "a.mp4"))
    ]
    target = tmp_path / "attempt"
    target.mkdir()
    assert FolderSource(videos).fetch({"url": found[0].url}, target, DownloadConfig()).path.read_bytes() == b"bytes"


def test_the_check_of_the_rules_finds_the_verdict_of_an_odd_file_right(store: Store, folder: Path) -> None:
    job = Job(store, settings(folder), home_of(store))
    search_videos(job, now=searches.NOW)

    class Work:
        config = job.config

    work: Any = Work()
    work.store = store
    assert rules_hold(work).passed


def test_an_object_that_changed_after_its_size_was_asked_is_read_up_to_it(
    tmp_path: Path, s3_options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store("s3://lampworks-test/odd-sidecars", s3_options)
    store.write_blob("a.mp4", b"x")
    store.write_blob("a.info.json", json.dumps({"title": "Platformer"}).encode() + b" " * (1 << 20))
    store.write_blob("b.mp4", b"x")
    store.write_blob("b.info.json", b"")
    source = FolderSource("s3://lampworks-test/odd-sidecars", s3_options)
    assert [one.title for one in source.search()] == ["Platformer", "b"]
    assert list(source.failures) == ["s3://lampworks-test/odd-sidecars/b.info.json"]
    monkeypatch.setattr(Store, "size", lambda self, name: 1 << 34)
    assert [one.title for one in source.search()] == ["a", "b"]
    assert (
        "it has 16384 MB, and at most 16 MB are read" in source.failures["s3://lampworks-test/odd-sidecars/a.info.json"]
    )
    monkeypatch.setattr(Store, "size", lambda self, name: 23)
    assert [one.title for one in source.search()] == ["Platformer", "b"]
    assert "the sidecar cannot be read" in source.failures["s3://lampworks-test/odd-sidecars/b.info.json"]
