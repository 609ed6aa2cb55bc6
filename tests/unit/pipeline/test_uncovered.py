"""The table of situations keeps each path once, names no video that was taken down, and stays bounded."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from pipeline import uncovered
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from pipeline.uncovered import (
    NearClips,
    Situation,
    count_situations,
    picture_of,
    read_situations,
    record_situations,
)

START = datetime(2026, 11, 26, tzinfo=UTC)
CLIPS = [f"v{number}-000000000-0123abcd" for number in range(4)]


def situation(number: int, clip_id: str | None = None) -> Situation:
    return Situation(
        world="w", start="held_out:0", clip_id=clip_id, link=f"#actions={number}", t=number, score=0.9, entropy=1.0,
        residual=2.0, disagreement=0.1, expected_psnr=18.0, pictures=(b"png",),
        seen_at=START + timedelta(minutes=number),
    )  # fmt: skip


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "root")
    store.append("videos", [{"video_id": f"v{number}", "verdict": "kept"} for number in range(4)])
    return store


def near(*clip_ids: str, reason: str = ""):
    return lambda situations: [NearClips(list(clip_ids), reason)] * len(situations)


def test_a_path_that_is_played_again_is_the_same_row_and_the_newest_comes_first(store):
    record_situations(store, [situation(1, CLIPS[0]), situation(2), situation(2)], near(CLIPS[1]))
    record_situations(store, [dataclasses.replace(situation(1, CLIPS[0]), score=0.7)], near(CLIPS[2]))
    rows = read_situations(store)
    assert [(row["t"], row["score"], row["nearest"]) for row in rows] == [(2, 0.9, [CLIPS[1]]), (1, 0.7, [CLIPS[2]])]
    assert [(row["state"], row["video_id"], row["clip_spec"]) for row in rows] == [
        ("ok", None, None), ("ok", "v0", "0123abcd")
    ]  # fmt: skip
    assert picture_of(store, rows[0]["situation_id"]) == b"png"
    assert picture_of(store, "nobody") is None
    assert read_situations(store, "another world") == []


def test_where_no_clip_looks_like_it_the_row_says_why(store):
    record_situations(store, [situation(1)], near(reason="no clip is embedded"))
    assert [(row["state"], row["message"]) for row in read_situations(store)] == [("no_clip", "no clip is embedded")]
    assert count_situations(store) == (1, 1)


def test_a_takedown_that_arrives_before_or_while_clips_are_looked_for_is_obeyed(store):
    request_takedown(store, "video", "v0", "asked")
    found = iter([[CLIPS[1]], [CLIPS[2]]])

    def nearest(situations):
        clip_ids = next(found)
        if CLIPS[1] in clip_ids:
            request_takedown(store, "video", "v1", "asked")
        return [NearClips(clip_ids)] * len(situations)

    assert record_situations(store, [situation(1, CLIPS[0]), situation(2, CLIPS[3])], nearest) == 1
    assert [(row["clip_id"], row["nearest"]) for row in read_situations(store)] == [(CLIPS[3], [CLIPS[2]])]
    request_takedown(store, "video", "v2", "asked")
    assert read_situations(store) == []


def test_beyond_the_limit_the_oldest_go(store, monkeypatch):
    monkeypatch.setattr(uncovered, "MOST", 3)
    record_situations(store, [situation(number) for number in (4, 1, 3)], near())
    record_situations(store, [situation(5), situation(2)], near())
    assert [row["t"] for row in read_situations(store)] == [5, 4, 3]
