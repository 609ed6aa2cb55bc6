"""Rows about a video go from every table, and of rows about others its name alone is taken out."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake

from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from pipeline.takedown.mentions import MARK, mentions_of
from pipeline.takedown.rows import Cleaned, clean_tables, count_rows, delete_stray_files, delete_videos, purge_last
from tests.grep import find_bytes

MINE, OTHER = "youtube-dQw4w9WgXcQ", "youtube-dQw4w9WgXcQ-2"
CLIP, OTHERS = f"{MINE}-000000000-5f0c12ab", f"{OTHER}-000000000-5f0c12ab"
URL = "https://site.test/watch/dQw4w9WgXcQ"
ROW = {"video_id": MINE, "native_id": "dQw4w9WgXcQ", "url": URL, "title": "t", "channel": None, "channel_id": None}
MENTIONS = mentions_of([ROW], [])


def test_every_table_that_can_hold_a_video_loses_it(store: Store) -> None:
    about = [name for name, schema in SCHEMAS.items() if {"video_id", "clip_id"} & set(schema.names)]
    for name in about:
        rows = []
        for video_id, clip_id in ((MINE, CLIP), (OTHER, OTHERS)):
            values = {"video_id": video_id, "clip_id": clip_id, "representative": clip_id}
            rows.append({column: value for column, value in values.items() if column in SCHEMAS[name].names})
        store.append(name, rows)
    assert set(count_rows(store, MENTIONS)) == set(about)
    deleted = clean_tables(store, MENTIONS).deleted
    deleted["videos"] = delete_videos(store, MENTIONS)
    assert deleted == dict.fromkeys(about, 1)
    purge_last(store, MENTIONS)
    assert count_rows(store, MENTIONS) == {}
    for name in about:
        assert OTHER in str(store.read(name).to_pylist())
    left = find_bytes(Path(store.root), [f"{MINE}'".encode(), f'{MINE}"'.encode(), CLIP.encode()])
    assert left == []


def test_a_group_whose_representative_goes_is_made_again(store: Store) -> None:
    store.append("duplicates", [{"clip_id": OTHERS, "video_id": OTHER, "representative": CLIP}])
    assert clean_tables(store, MENTIONS).deleted == {"duplicates": 1}


def test_a_situation_that_looks_like_a_clip_of_it_goes(store: Store) -> None:
    near = {"1": [OTHERS, CLIP], "2": [OTHERS], "3": []}
    store.append("uncovered", [{"situation_id": name, "nearest": clip_ids} for name, clip_ids in near.items()])
    assert count_rows(store, MENTIONS) == {"uncovered": 1}
    assert clean_tables(store, MENTIONS).deleted == {"uncovered": 1}
    assert sorted(store.read("uncovered")["situation_id"].to_pylist()) == ["2", "3"]


def test_labels_that_name_it_in_another_way_go(store: Store) -> None:
    store.append("videos", [ROW | {"native_id": "games/Level 1.mp4", "url": "/v/games/Level 1.mp4"}])
    names = ["Level 1.mp4", "/elsewhere/games/Level 1.mp4", "Level 1", "Level 12.mp4", CLIP, None]
    store.append("labels", [{"event_id": str(k), "video": name, "kind": "rate"} for k, name in enumerate(names)])
    mentions = mentions_of(store.read("videos").to_pylist(), [])
    assert clean_tables(store, mentions).deleted["labels"] == 4
    assert {row["video"] for row in store.read("labels").to_pylist()} == {"Level 12.mp4", None}


def test_rows_of_a_table_without_the_column_of_videos_go_by_their_clip(store: Store) -> None:
    older = pa.table({"event_id": ["1", "2"], "clip_id": [CLIP, OTHERS], "kind": ["rate", "rate"]})
    write_deltalake(store.url("tables/labels"), older, description="lampworks schema 1")
    assert clean_tables(store, MENTIONS).deleted == {"labels": 1}
    assert store.read("labels", ["clip_id"])["clip_id"].to_pylist() == [OTHERS]


def test_of_other_rows_the_name_alone_is_taken_out(store: Store) -> None:
    other = {"video_id": OTHER, "url": f"{URL}-2", "title": "Part 2"}
    store.append("videos", [other | {"queries": ["words", URL], "description": f"part 1 is {URL}, it's fun"}])
    store.append("searches", [{"search_id": "1", "query": URL}, {"search_id": "2", "query": "words"}])
    store.append("breakers", [{"event_id": "1", "message": f"GET {URL}: 429"}])
    store.append("duplicates", [{"clip_id": OTHERS, "similar_to": CLIP, "representative": OTHERS}])
    store.append("curated", [{"clip_id": OTHERS, "decision": "drop", "reason": f"duplicate of {CLIP}"}])
    inputs = {"bad_samples": {CLIP: "cut short", OTHERS: "cut short"}}
    store.append("models", [{"model_id": "m", "inputs": json.dumps(inputs)}])
    assert clean_tables(store, MENTIONS).changed == 7
    (video,) = store.read("videos").to_pylist()
    assert video["queries"] == ["words", MARK]
    assert video["description"] == f"part 1 is {MARK}, it's fun"
    assert (video["video_id"], video["url"], video["title"]) == (OTHER, f"{URL}-2", "Part 2")
    assert sorted(store.read("searches")["query"].to_pylist()) == [MARK, "words"]
    assert store.read("breakers")["message"].to_pylist() == [f"GET {MARK}: 429"]
    assert store.read("duplicates")["similar_to"].to_pylist() == [None]
    assert store.read("curated")["reason"].to_pylist() == [f"duplicate of {MARK}"]
    assert json.loads(store.read("models")["inputs"].to_pylist()[0])["bad_samples"][OTHERS] == "cut short"
    purge_last(store, MENTIONS)
    assert find_bytes(Path(store.root), [CLIP.encode(), f"{URL}'".encode(), f"{URL},".encode()]) == []


def test_a_purge_keeps_what_the_rows_were_made_from_and_happens_once(store: Store) -> None:
    store.append("curated", [{"clip_id": CLIP}, {"clip_id": OTHERS}], inputs={"clips": 3})
    assert store.delete_rows("curated", "clip_id", [CLIP]) == 1
    assert store.inputs("curated") == {"clips": 3}
    assert store.deleted_rows("curated") == 0
    assert store.purge("curated")
    version = store.version("curated")
    assert (store.inputs("curated"), store.read("curated")["clip_id"].to_pylist()) == ({"clips": 3}, [OTHERS])
    assert not store.purge("curated")
    assert clean_tables(store, MENTIONS) == Cleaned()
    assert store.version("curated") == version
    store.append("curated", [{"clip_id": OTHERS}])
    assert store.version("curated") == version + 1


def test_old_versions_of_a_table_go_on_an_object_store_too(s3_options: dict[str, str]) -> None:
    store = Store("s3://lampworks-test/purge", s3_options)
    store.append("curated", [{"clip_id": CLIP}, {"clip_id": OTHERS}], inputs={"clips": 3})
    assert store.delete_rows("curated", "clip_id", [CLIP]) == 1
    assert store.purge("curated")
    keys = store.list_blobs("tables/curated")
    assert [key.rpartition("/")[2] for key in keys if key.endswith(".json")] == [
        f"{store.version('curated'):020d}.json"
    ]
    assert not any(CLIP.encode() in store.read_blob(key) for key in keys)
    assert store.read("curated")["clip_id"].to_pylist() == [OTHERS]
    assert store.inputs("curated") == {"clips": 3}
    assert not store.purge("curated")


def test_a_file_that_a_killed_writer_left_goes_where_it_names_the_video(store: Store) -> None:
    store.append("clips", [{"clip_id": OTHERS}])
    folder = Path(store.url("tables/clips"))
    committed = next(folder.glob("*.parquet"))
    for name, clip_id in (("stray-mine", CLIP), ("stray-other", OTHERS)):
        write_deltalake(store.url(f"tables/{name}"), pa.table({"clip_id": [clip_id]}))
        next(Path(store.url(f"tables/{name}")).glob("*.parquet")).rename(folder / f"{name}.parquet")
    (folder / "unfinished.parquet").write_bytes(b"PAR1")
    assert delete_stray_files(store, "clips", MENTIONS) == 1
    assert {path.name for path in folder.glob("*.parquet")} == {
        committed.name, "stray-other.parquet", "unfinished.parquet",
    }  # fmt: skip


def test_what_another_writer_committed_while_a_table_was_kept_open_is_not_stray(store: Store) -> None:
    """It may name the video: the writer looked for tombstones before there was one."""
    store.append("downloads", [{"attempt_id": "1", "video_id": OTHER}])
    with store.kept_open("downloads"):
        assert len(store.read("downloads")) == 1
        Store(store.root).append("downloads", [{"attempt_id": "2", "video_id": MINE}])
        assert delete_stray_files(store, "downloads", MENTIONS) == 0
    assert sorted(store.read("downloads")["attempt_id"].to_pylist()) == ["1", "2"]
