"""What names a video is found as a whole word and in every way of writing it, and nothing else is."""

from __future__ import annotations

import html
import json
from urllib.parse import quote

import pytest

from pipeline.takedown.mentions import MARK, Mentions, mentions_of, without_mentions

ROW = {
    "video_id": "youtube-dQw4w9WgXcQ", "native_id": "dQw4w9WgXcQ", "url": "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
    "title": 'Größe & "Mut": level 3', "channel": "Fox Quest", "channel_id": "UC1234567890", "thumbnail": None,
}  # fmt: skip
FOUND = mentions_of([ROW], [{"native_id": "other", "title": "other", "channel": "other", "channel_id": "UC0"}])


@pytest.mark.parametrize(
    "text",
    [
        "youtube-dQw4w9WgXcQ",
        "duplicate of youtube-dQw4w9WgXcQ-000016000-5f0c12ab",
        "raw/2026w47-0001/youtube-dQw4w9WgXcQ-0123456789ab.mp4",
        "see https://youtu.be/dQw4w9WgXcQ?t=3",
        "GET https://www.youtube.com/watch?v=dQw4w9WgXcQ: 404",
    ],
)
def test_a_name_is_found_and_taken_out(text: str) -> None:
    assert FOUND.in_text(text)
    assert "dQw4w9WgXcQ" not in FOUND.taken_out(text)
    assert MARK in FOUND.taken_out(text)


@pytest.mark.parametrize("text", ["youtube-dQw4w9WgXcQx", "xdQw4w9WgXcQ", "youtube-dQw4w9WgXcQ-live", "level 3", ""])
def test_what_only_contains_a_name_is_another(text: str) -> None:
    assert not FOUND.in_text(text, titles=True)
    assert FOUND.taken_out(text, titles=True) == text


@pytest.mark.parametrize("write", [str, json.dumps, html.escape, quote])
def test_a_title_is_found_however_it_is_written(write) -> None:  # type: ignore[no-untyped-def]
    text = f"<td>{write(ROW['title'])}</td>"
    assert FOUND.in_text(text, titles=True)
    assert not FOUND.in_text(text)
    assert "level 3" not in FOUND.taken_out(text, titles=True).replace("%20", " ")


def test_a_title_that_another_video_has_is_not_its_own() -> None:
    shared = mentions_of([ROW], [{**ROW, "native_id": "other"}])
    assert not shared.titles
    assert shared.natives == {"dQw4w9WgXcQ"}


def _file(native_id: str) -> dict[str, str | None]:
    named = {"video_id": "folder-one", "native_id": native_id, "url": f"/films/{native_id}"}
    return dict.fromkeys(ROW) | named


@pytest.mark.parametrize("text", ["line 18: v005.mp4 at 48.0 s", "sub/v005.mp4", "/films/sub/v005.mp4"])
def test_a_file_goes_by_its_name_without_its_folder_too(text: str) -> None:
    found = mentions_of([_file("sub/v005.mp4")], [dict.fromkeys(ROW, "other")])
    assert "v005" not in found.taken_out(text)


@pytest.mark.parametrize("other", ["v005.mp4", "more/v005.mp4", "level v005.mp4", "more/sub/v005.mp4"])
def test_a_file_name_that_is_part_of_anothers_is_not_its_own(other: str) -> None:
    found = mentions_of([_file("sub/v005.mp4")], [dict.fromkeys(ROW, "other") | {"native_id": other}])
    assert found.taken_out(f"line 18: {other}") == f"line 18: {other}"


def test_json_loses_what_is_about_it_and_keeps_the_rest() -> None:
    mine, other = "youtube-dQw4w9WgXcQ-000016000-5f0c12ab", "youtube-abc-000016000-5f0c12ab"
    found = {
        "seed": 3,
        "clips": [{"clip_id": mine, "stream": "random"}, {"clip_id": other, "stream": "random"}],
        "held_out": {"clip_id": [mine, other], "rating": [1, 5]},
        "bad_samples": {mine: "cut short", other: "cut short"},
        "note": f"began with {mine}",
    }
    assert without_mentions(found, FOUND) == {
        "seed": 3,
        "clips": [{"clip_id": other, "stream": "random"}],
        "held_out": {"clip_id": [other], "rating": [5]},
        "bad_samples": {other: "cut short"},
        "note": f"began with {MARK}",
    }


def test_names_that_are_everyday_words_are_left_alone() -> None:
    short = mentions_of([{**ROW, "native_id": "v1", "title": "Level", "channel": "me", "channel_id": None}], [])
    assert short.natives == short.titles == frozenset()
    assert Mentions().in_text("anything") is False
