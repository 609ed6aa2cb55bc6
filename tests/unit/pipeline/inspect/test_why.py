"""Everything known of a video or clip is found by any of its names; a wrong name gets similar ones as an answer."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.inspect.why import why
from pipeline.inspect.why_text import format_why
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from tests.synthetic import CONFIG, finished_store


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with every stage done; no test may write to it."""
    return finished_store(tmp_path_factory.mktemp("finished"))


@pytest.mark.parametrize("name", ["arcade-v001", "v001", "http://127.0.0.1/watch/v001", "  arcade-v001\n"])
def test_a_video_goes_by_its_id_its_own_id_and_its_url(finished: Store, name: str):
    found = why(finished, CONFIG, name)
    assert (found["kind"], found["id"]) == ("video", "arcade-v001")
    assert found["video"]["rule"] == "kept:platformer+speedrun"
    assert [attempt["state"] for attempt in found["attempts"]] == ["pending", "ok"]
    assert found["download"]["state"] == "ok"
    assert [clip["start_ms"] for clip in found["clips"]] == [0, 16000, 32000]
    assert all(clip["decision"] and clip["reason"] for clip in found["clips"])
    json.dumps(found)


def test_a_file_goes_by_its_name(store: Store):
    store.append("videos", [{"video_id": "folder-a-1", "native_id": "games/Level 1.mp4", "url": "/v/games/Level 1.mp4",
                             "verdict": "kept", "rule": "off", "batch": "b"}])  # fmt: skip
    assert why(store, CONFIG, "Level 1.mp4")["id"] == "folder-a-1"


def test_a_name_that_two_videos_have_is_answered_with_both(store: Store):
    rows = [{"video_id": f"folder-{k}", "native_id": f"{k}/a.mp4", "url": f"/{k}/a.mp4"} for k in "xy"]
    store.append("videos", rows)
    with pytest.raises(UserError, match=r"names 2 videos; give the id of one: folder-x, folder-y"):
        why(store, CONFIG, "a.mp4")


def test_a_unique_start_of_an_id_is_enough(finished: Store):
    clip_id = finished.read("clips", ["clip_id"], pc.field("video_id") == "arcade-v001")["clip_id"].to_pylist()[1]
    assert why(finished, CONFIG, clip_id[:-3])["id"] == clip_id
    assert why(finished, CONFIG, "arcade-v001-000032")["clip"]["start_ms"] == 32000


def test_a_start_of_a_video_id_means_the_video_and_not_its_clips(store: Store):
    store.append("videos", [{"video_id": "youtube-abcdef", "batch": "b"}, {"video_id": "youtube-xyz", "batch": "b"}])
    store.append("clips", [{"clip_id": "youtube-abcdef-000000000-0a1b2c3d", "video_id": "youtube-abcdef"}])
    assert (why(store, CONFIG, "youtube-abc")["kind"], why(store, CONFIG, "youtube-abc")["id"]) == (
        "video", "youtube-abcdef",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("start", "answer"),
    [
        ("arcade-v00", r"is the start of 10 ids; give more of it, or one of: arcade-v000, arcade-v001, .*, \.\.\."),
        ("arcade-v001-0000", r"is the start of 3 ids; give more of it, or one of: arcade-v001-000000000-"),
    ],
)
def test_a_start_of_several_ids_is_answered_with_them(finished: Store, start: str, answer: str):
    with pytest.raises(UserError, match=answer):
        why(finished, CONFIG, start)


def test_an_id_that_is_the_start_of_another_one_means_itself(store: Store):
    store.append("videos", [{"video_id": "folder-a", "batch": "b"}, {"video_id": "folder-a-1", "batch": "b"}])
    assert why(store, CONFIG, "folder-a")["id"] == "folder-a"


def test_a_clip_is_known_from_its_source_to_the_models_that_saw_it(finished: Store):
    kept = [row for row in finished.read("curated").to_pylist() if row["decision"] == "keep"]
    of_each_split = {row["split"]: row for row in kept}
    assert set(of_each_split) >= {"train", "val"}
    for row in of_each_split.values():
        found = why(finished, CONFIG, row["clip_id"])
        assert found["kind"] == "clip"
        assert found["video"]["video_id"] == row["video_id"]
        assert found["clip"]["tar"].startswith("clips/")
        assert found["decision"]["reason"] == row["reason"]
        assert found["rating"] == row["rating"]
        assert found["scores"][0]["probability"] == row["probability"]
        assert found["shard"]["split"] == row["split"]
        with tarfile.open(fileobj=io.BytesIO(finished.read_blob(found["shard"]["path"]))) as tar:
            assert f"{row['clip_id']}.mp4" in tar.getnames()
        seen = {model["kind"] for model in found["models"]}
        assert seen == ({"video_tokenizer", "world_model"} if row["split"] == "train" else {"world_evaluation"})
        json.dumps(found)


def test_a_copy_names_what_it_is_a_copy_of(finished: Store):
    copy = next(row for row in finished.read("duplicates").to_pylist() if not row["is_representative"])
    found = why(finished, CONFIG, copy["clip_id"])
    assert found["duplicates"]["representative"] == copy["representative"]
    assert set(found["duplicates"]["members"]) >= {copy["clip_id"], copy["representative"]}
    assert found["shard"] is None
    assert found["models"] == []
    assert f"copy of {copy['representative']}" in format_why(found)
    found["duplicates"] |= {"mirrored": True, "shift_ms": 3200}
    assert f"mirrored copy that starts 3.2 s later of {copy['representative']}, with" in format_why(found)
    found["duplicates"] |= {"group_size": 1, "similar_to": "v-a-000016000-00000000"}
    assert "none, but looks like v-a-000016000-00000000" in format_why(found)


@pytest.mark.parametrize(("shift_ms", "said"), [(3200, ", 3.2 s later"), (-5000, ", 5 s earlier"), (0, "")])
def test_a_file_says_how_it_lies_to_the_clip_that_it_is_a_copy_of(shift_ms: int, said: str):
    match = {"start_ms": 16000, "clip_id": "v-a", "match": "copy", "mirrored": False, "shift_ms": shift_ms}
    found = {"kind": "file", "id": "a.mp4", "same_bytes": [], "matches": [match], "videos": []}
    assert format_why(found).endswith(f"from 16 s: copy of v-a{said}")


def test_a_rejected_video_says_which_rule_and_has_no_more(finished: Store):
    found = why(finished, CONFIG, "v012")
    assert found["video"]["verdict"] == "rejected"
    assert found["download"] is None
    assert found["attempts"] == found["cuts"] == found["clips"] == []
    assert "rejected: negation:unboxing" in format_why(found)


def test_a_failed_video_says_why(finished: Store):
    text = format_why(why(finished, CONFIG, "v002"))
    assert "not_found: HTTP Error 404: Not Found" in text
    assert "failed after 1 attempt" in text


def test_a_takedown_is_told_with_its_reason(tmp_path: Path):
    store = finished_store(tmp_path / "root")
    request_takedown(store, "channel", "channel-4", "the owner asked")
    found = why(store, CONFIG, "arcade-v004")
    assert found["taken_down"] is True
    assert found["download"]["state"] == "taken_down"
    assert "the owner asked" in format_why(found)
    assert why(store, CONFIG, "arcade-v005")["takedowns"] == []


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("arcade-v0001", "arcade-v001"),
        ("aracde-v003", "arcade-v003"),
        ("UNBOXING a platformer", "arcade-v012"),
        ("arcade-v000-000007000-00000000", "arcade-v000-000000000-"),
        ("2D platformer longplay no comentary", "arcade-v0"),
    ],
)
def test_an_unknown_name_is_answered_with_close_ones(finished: Store, name: str, close: str):
    with pytest.raises(UserError, match=f"nothing is known of '{name}'.*close: .*{close}"):
        why(finished, CONFIG, name)


def test_a_name_like_nothing_says_where_names_are_listed(finished: Store):
    with pytest.raises(UserError, match="lampworks export"):
        why(finished, CONFIG, "zzz%%%")


def test_an_empty_store_says_that_it_is_empty(store: Store):
    with pytest.raises(UserError, match="holds no video yet"):
        why(store, CONFIG, "arcade-v001")


@pytest.mark.parametrize("name", ["arcade-v004", "v000", "v012"])
def test_the_terminal_gets_no_control_characters_from_a_title(finished: Store, name: str):
    text = format_why(why(finished, CONFIG, name))
    assert all(letter.isprintable() or letter == "\n" for letter in text)
