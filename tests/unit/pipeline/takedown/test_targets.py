"""A person's name for a video or a channel finds it, in every spelling of its address."""

from __future__ import annotations

import pytest

from pipeline.errors import UserError
from pipeline.storage.store import Store
from pipeline.takedown.targets import find_target

VIDEO = "youtube-dQw4w9WgXcQ"
CHANNEL = "UCuAXFkgsw1L7xaCfnd5JJOw"
URL = "https://www.youtube.com/watch?v={}"


@pytest.fixture
def known(store: Store) -> Store:
    shared = {"extractor": "youtube", "channel_id": CHANNEL, "channel": "Fox Quest", "batch": "b"}
    store.append("videos", [
        {"video_id": VIDEO, "native_id": VIDEO[8:], "url": URL.format(VIDEO[8:]), **shared},
        {"video_id": "youtube-aaaaaaaaaaa", "native_id": "aaaaaaaaaaa", "url": URL.format("aaaaaaaaaaa"), **shared},
        {"video_id": "vimeo-76979871", "native_id": "76979871", "url": "https://vimeo.com/76979871"},
        {"video_id": "folder-a-1", "native_id": "x/a.mp4", "url": "/v/x/a.mp4"},
        {"video_id": "folder-a-2", "native_id": "y/a.mp4", "url": "/v/y/a.mp4"},
    ])  # fmt: skip
    return store


@pytest.mark.parametrize(
    "name",
    [
        VIDEO,
        "dQw4w9WgXcQ",
        f"{VIDEO}-000016000-5f0c12ab",
        "https://youtu.be/dQw4w9WgXcQ",
        "https://youtu.be/dQw4w9WgXcQ?si=share&t=12",
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ&list=PL123&index=3",
        "https://m.youtube.com/watch?app=desktop&v=dQw4w9WgXcQ",
        "https://www.youtube.com/shorts/dQw4w9WgXcQ?feature=share",
        "https://www.youtube.com/embed/dQw4w9WgXcQ",
        "https://www.youtube-nocookie.com/embed/dQw4w9WgXcQ",
        "https://www.youtube.com/live/dQw4w9WgXcQ",
        "http://music.youtube.com/watch?v=dQw4w9WgXcQ",
        "youtu.be/dQw4w9WgXcQ",
        "www.youtube.com/watch?v=dQw4w9WgXcQ",
        "  https://youtu.be/dQw4w9WgXcQ\n",
    ],
)
def test_every_spelling_of_an_address_names_the_same_video(known: Store, name: str) -> None:
    found = find_target(known, name)
    assert (found.kind, [row["video_id"] for row in found.videos]) == ("video", [VIDEO])
    assert found.names == [("video", VIDEO), ("url", URL.format(VIDEO[8:]))]


def test_other_sites_are_read_by_their_extractors(known: Store) -> None:
    assert find_target(known, "https://vimeo.com/76979871?share=copy").videos[0]["video_id"] == "vimeo-76979871"


@pytest.mark.parametrize("name", [CHANNEL, "Fox Quest", f"https://www.youtube.com/channel/{CHANNEL}/videos"])
def test_a_channel_goes_by_its_id_its_address_and_its_name(known: Store, name: str) -> None:
    found = find_target(known, name)
    assert found.kind == "channel"
    assert found.names[:3] == [("channel", CHANNEL), ("video", "youtube-aaaaaaaaaaa"), ("video", VIDEO)]
    assert {kind for kind, _ in found.names[3:]} == {"url"}


def test_a_name_that_several_have_is_refused_with_the_ids(known: Store) -> None:
    with pytest.raises(UserError, match=r"names 2 videos; give the id of one: folder-a-1, folder-a-2"):
        find_target(known, "a.mp4")
    known.append("videos", [{"video_id": "youtube-b", "channel_id": "UC2", "channel": "Fox Quest"}])
    with pytest.raises(UserError, match=rf"name of 2 channels; give the id of one: UC2, {CHANNEL}"):
        find_target(known, "Fox Quest")


def test_a_name_of_a_video_and_of_a_channel_needs_the_kind(known: Store) -> None:
    known.append("videos", [{"video_id": "youtube-c", "native_id": "Twice", "channel_id": "UC3"}])
    known.append("videos", [{"video_id": "youtube-d", "channel_id": "Twice"}])
    with pytest.raises(UserError, match="say which with --video or --channel"):
        find_target(known, "Twice")
    assert find_target(known, "Twice", "video").names == [("video", "youtube-c")]
    assert find_target(known, "Twice", "channel").names == [("channel", "Twice"), ("video", "youtube-d")]


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("youtube-bbbbbbbbbbb", [("video", "youtube-bbbbbbbbbbb")]),
        ("UCbbbbbbbbbbbbbbbbbbbbbb", [("channel", "UCbbbbbbbbbbbbbbbbbbbbbb")]),
        ("https://youtu.be/bbbbbbbbbbb", [("video", "youtube-bbbbbbbbbbb"), ("url", "https://youtu.be/bbbbbbbbbbb")]),
    ],
)
def test_an_unknown_name_gets_what_a_later_search_will_know_it_by(
    known: Store, name: str, names: list[tuple[str, str]]
) -> None:
    found = find_target(known, name)
    assert not found.is_known
    assert found.names == names


def test_an_address_without_the_channels_id_says_how_to_get_it(known: Store) -> None:
    with pytest.raises(UserError, match=r"yt-dlp --print channel_id"):
        find_target(known, "https://www.youtube.com/@FoxQuest")
