"""A folder, local or on an object store, as a source of videos."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest

from pipeline.config import DownloadConfig
from pipeline.errors import PermanentError, UserError
from pipeline.ids import file_video_id
from pipeline.sources.folder import FolderSource, path_of
from pipeline.storage.store import Store

CONFIG = DownloadConfig(socket_timeout_s=5, min_free_gb=0)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"bytes")
    return path


def test_a_folder_offers_every_video_below_it_in_order_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.MKV", "sub/c.webm", "sub/.hidden.mp4", ".trash/d.mp4", "notes.txt", "b.info.json"):
        touch(tmp_path / name)
    found = list(FolderSource(tmp_path).search())
    assert [one.native_id for one in found] == ["a.MKV", "b.mp4", "sub/c.webm"]
    assert [one.title for one in found] == ["a", "b", "c"]
    assert found[2].url == str(tmp_path / "sub/c.webm")
    assert found[2].video_id == file_video_id("sub/c.webm")


def test_a_sidecar_gives_title_and_channel_and_a_broken_one_nothing(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    info = {"title": "Platformer", "description": "speedrun", "tags": ["x"], "channel_id": "UC1", "license": "CC-BY"}
    (tmp_path / "a.info.json").write_text(json.dumps(info))
    touch(tmp_path / "b.mp4")
    (tmp_path / "b.info.json").write_text("{")
    first, second = FolderSource(tmp_path).search()
    assert (first.title, first.description, first.channel_id) == ("Platformer", "speedrun", "UC1")
    assert (first.tags, first.licence) == (("x",), "CC-BY")
    assert (second.title, second.channel_id) == ("b", None)


@pytest.mark.parametrize(
    "name", ["a\"b'c;$(x).mp4", "line\nbreak.mp4", "🎮" * 40 + ".mp4", "-rf.mp4", "x" * 250 + ".mp4"]
)
def test_any_file_name_becomes_a_safe_id_and_is_found_again(tmp_path: Path, name: str) -> None:
    touch(tmp_path / name)
    (found,) = FolderSource(tmp_path).search()
    assert set(found.video_id) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    target = tmp_path / "attempt"
    target.mkdir()
    fetched = FolderSource(tmp_path).fetch({"url": found.url}, target, CONFIG)
    assert fetched.path.read_bytes() == b"bytes"
    assert fetched.path.parent == target


def test_a_name_that_is_no_text_is_found_again_by_its_bytes(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/\xff\xfe%41.mp4"
    with open(raw, "wb") as file:
        file.write(b"bytes")
    (found,) = FolderSource(tmp_path).search()
    for text in (found.url, found.native_id, found.title):
        text.encode("utf-8")
    assert path_of(found.url).read_bytes() == b"bytes"


def test_fetching_from_a_folder_leaves_the_file_where_it_is(tmp_path: Path) -> None:
    original = touch(tmp_path / "videos/a.mp4")
    target = tmp_path / "attempt"
    target.mkdir()
    fetched = FolderSource(tmp_path / "videos").fetch({"url": str(original)}, target, CONFIG)
    fetched.path.unlink()
    assert original.read_bytes() == b"bytes"
    original.unlink()
    with pytest.raises(PermanentError, match="gone"):
        FolderSource(tmp_path / "videos").fetch({"url": str(original)}, target, CONFIG)


def test_a_sidecar_tells_what_the_rules_ask(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    info = {"duration": 12.5, "age_limit": 18, "live_status": "was_live", "thumbnail": "http://127.0.0.1/t.jpg"}
    (tmp_path / "a.info.json").write_text(json.dumps({**info, "tags": "no list", "title": "x" * 5000}))
    (found,) = FolderSource(tmp_path).search()
    assert (found.duration_s, found.age_limit, found.live_status) == (12.5, 18, "was_live")
    assert (found.thumbnail, found.tags, len(found.title)) == ("http://127.0.0.1/t.jpg", (), 1000)


def test_a_sidecar_that_is_huge_or_broken_is_told_and_the_video_stays(tmp_path: Path) -> None:
    for name in ("huge", "broken", "deep"):
        touch(tmp_path / f"{name}.mp4")
    with (tmp_path / "huge.info.json").open("wb") as file:
        file.truncate(1 << 30)
    (tmp_path / "broken.info.json").write_text("{")
    (tmp_path / "deep.info.json").write_text("[" * 200_000)
    source = FolderSource(tmp_path)
    assert [one.title for one in source.search()] == ["broken", "deep", "huge"]
    assert source.failures.keys() == {str(tmp_path / f"{name}.info.json") for name in ("huge", "broken", "deep")}
    assert "1024 MB" in source.failures[str(tmp_path / "huge.info.json")]


def test_a_prefix_of_an_object_store_is_a_folder_too(tmp_path: Path, s3_options: dict[str, str]) -> None:
    store = Store("s3://lampworks-test/recordings", s3_options)
    for name in ("b.mp4", "deep/a b\u2603.MKV", ".hidden/c.mp4", "notes.txt"):
        store.write_blob(name, name.encode())
    store.write_blob("b.info.json", json.dumps({"title": "Platformer", "license": "CC0"}).encode())
    source = pickle.loads(pickle.dumps(FolderSource("s3://lampworks-test/recordings/", s3_options)))
    found = list(source.search())
    assert [(one.native_id, one.title, one.licence) for one in found] == [
        ("b.mp4", "Platformer", "CC0"),
        ("deep/a b\u2603.MKV", "a b\u2603", None),
    ]
    assert found[1].url == "s3://lampworks-test/recordings/deep/a b\u2603.MKV"
    fetched = source.fetch({"url": found[1].url}, tmp_path, CONFIG)
    assert fetched.path == tmp_path / "media.mkv"
    assert fetched.path.read_bytes() == "deep/a b\u2603.MKV".encode()
    store.delete("b.mp4")
    with pytest.raises(PermanentError, match="gone"):
        source.fetch({"url": found[0].url}, tmp_path, CONFIG)
    with pytest.raises(UserError, match="folder:s3://lampworks-test/empty': no video in it"):
        list(FolderSource("s3://lampworks-test/empty", s3_options).search())
    with pytest.raises(UserError, match="folder:s3://no-such-bucket/x': "):
        list(FolderSource("s3://no-such-bucket/x", s3_options).search())


def test_a_missing_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"folder:.*/absent': does not exist"):
        list(FolderSource(tmp_path / "absent").search())
    with pytest.raises(UserError, match="no video in it"):
        list(FolderSource(tmp_path).search())
    with pytest.raises(UserError, match="is not a folder"):
        list(FolderSource(touch(tmp_path / "file.mp4")).search())
