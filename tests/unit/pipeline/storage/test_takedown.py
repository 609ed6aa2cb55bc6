"""Tombstones: what they hide, and that asking twice writes once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown, taken_down


def test_nothing_is_hidden_in_an_empty_store(tmp_path: Path) -> None:
    assert not taken_down(Store(tmp_path)).hides("youtube-a", "UC1")


def test_a_video_is_hidden_by_id_and_by_url(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append("videos", [{"video_id": "youtube-a", "url": "https://x.test/a", "channel_id": "UC1"}])
    request_takedown(store, "video", "https://x.test/a", "asked by the owner")
    request_takedown(store, "video", "youtube-b", "asked by the owner")
    hidden = taken_down(store)
    assert hidden.hides("youtube-a")
    assert hidden.hides({"video_id": "youtube-b", "channel_id": None})
    assert not hidden.hides("youtube-c")


def test_a_channel_hides_all_its_videos(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append("videos", [{"video_id": f"youtube-{i}", "channel_id": "UC1" if i < 2 else "UC2"} for i in range(3)])
    request_takedown(store, "channel", "UC1", "asked by the owner")
    hidden = taken_down(store)
    assert hidden.hides({"video_id": "youtube-9", "channel_id": "UC1"})
    assert hidden.hidden_videos(store) == {"youtube-0", "youtube-1"}


def test_asking_twice_writes_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert request_takedown(store, "video", "youtube-a", "asked by the owner")
    version = store.version("takedowns")
    assert not request_takedown(store, "video", "youtube-a", "asked again")
    assert store.version("takedowns") == version


@pytest.mark.parametrize(("kind", "target", "reason"), [("clip", "a", "r"), ("video", " ", "r"), ("video", "a", "")])
def test_a_wrong_request_is_refused(tmp_path: Path, kind: str, target: str, reason: str) -> None:
    with pytest.raises(UserError):
        request_takedown(Store(tmp_path), kind, target, reason)
    assert store_is_untouched(tmp_path)


def store_is_untouched(folder: Path) -> bool:
    return not list(folder.iterdir())
