"""Tables: what one reads is what was committed, whatever the version or string type of the files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake

from pipeline.errors import UserError
from pipeline.storage.rows import rows_table
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store


def tombstone(number: int | str, reason: str = "asked") -> dict[str, Any]:
    return {"takedown_id": str(number), "kind": "video", "target": f"v{number}", "reason": reason}


def ids(store: Store) -> list[str]:
    return sorted(store.read("takedowns", columns=["takedown_id"])["takedown_id"].to_pylist())


def test_a_table_that_does_not_exist_reads_as_empty_with_its_schema(store: Store):
    assert store.version("clips") == -1
    assert store.inputs("clips") == {}
    assert store.read("clips").schema == SCHEMAS["clips"]
    assert store.read("clips", columns=["clip_id"]).column_names == ["clip_id"]
    assert list(store.scan("clips", ["clip_id"])) == []


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_table_takes_a_row_of_nulls_and_gives_its_own_schema_back(store: Store, name: str):
    store.append(name, [{}])
    table = store.read(name)
    assert table.schema == SCHEMAS[name]
    assert len(table) == 1


def test_append_adds_a_commit_and_no_rows_add_none(store: Store):
    assert store.append("takedowns", [tombstone(1)]) == 0
    assert store.append("takedowns", [tombstone(2)]) == 1
    assert store.append("takedowns", []) == 1
    assert store.merge("takedowns", [], on=["takedown_id"]) == 1
    assert ids(store) == ["1", "2"]


def test_columns_and_filter_reach_the_file(store: Store):
    store.append("takedowns", [tombstone(k) for k in range(5)])
    table = store.read("takedowns", columns=["target"], where=pc.field("takedown_id") == "3")
    assert table.to_pylist() == [{"target": "v3"}]
    batches = list(store.scan("takedowns", ["target", "kind"], where=pc.field("takedown_id") > "1", batch_rows=2))
    assert sum(len(batch) for batch in batches) == 3
    assert batches[0].schema.names == ["target", "kind"]


def test_merge_updates_rows_by_key_and_adds_the_rest(store: Store):
    store.append("takedowns", [tombstone(1), tombstone(2)])
    store.merge("takedowns", [tombstone(2, "changed"), tombstone(3)], on=["takedown_id"])
    assert {row["takedown_id"]: row["reason"] for row in store.read("takedowns").to_pylist()} == {
        "1": "asked",
        "2": "changed",
        "3": "asked",
    }


def test_replace_swaps_all_rows_or_only_those_of_a_predicate(store: Store):
    store.append("takedowns", [tombstone(1), tombstone(2), tombstone("o'k")])
    store.replace("takedowns", [tombstone(2, "again")], where="takedown_id = '2'")
    assert ids(store) == ["1", "2", "o'k"]
    store.replace("takedowns", [], where="takedown_id = 'o''k'")
    assert ids(store) == ["1", "2"]
    store.replace("takedowns", [tombstone(9)])
    assert ids(store) == ["9"]
    store.replace("takedowns", [])
    assert ids(store) == []


def test_a_replace_that_writes_outside_its_predicate_changes_nothing(store: Store):
    store.append("takedowns", [tombstone(1)])
    with pytest.raises(Exception, match="failed validation"):
        store.replace("takedowns", [tombstone(7)], where="takedown_id = '1'")
    assert ids(store) == ["1"]


def test_a_reader_sees_committed_rows_only(store: Store):
    store.append("takedowns", [tombstone(1)])
    folder = Path(store.root) / "tables" / "takedowns"
    data = next(folder.glob("*.parquet"))
    shutil.copy(data, folder / "part-of-a-commit-that-never-came.parquet")
    assert ids(store) == ["1"]


def test_a_table_folder_without_a_commit_does_not_exist(store: Store):
    (Path(store.root) / "tables" / "takedowns" / "_delta_log").mkdir(parents=True)
    assert store.version("takedowns") == -1
    assert ids(store) == []
    assert store.append("takedowns", [tombstone(1)]) == 0


def test_the_last_commit_keeps_its_inputs(store: Store):
    store.append("takedowns", [tombstone(1)], inputs={"clips": 3, "rule": "é"})
    assert store.inputs("takedowns") == {"clips": 3, "rule": "é"}
    store.merge("takedowns", [tombstone(2)], on=["takedown_id"], inputs={"clips": 4})
    assert store.inputs("takedowns") == {"clips": 4}
    store.replace("takedowns", [], inputs={"clips": 5})
    assert store.inputs("takedowns") == {"clips": 5}


def test_a_title_with_half_an_emoji_does_not_stop_the_rows_beside_it(store: Store):
    store.append("videos", [{"video_id": "a", "title": "half \ud83d", "tags": ["ok", "\udc00"]}, {"video_id": "b"}])
    rows = store.read("videos", columns=["video_id", "title", "tags"]).to_pylist()
    assert [row["video_id"] for row in rows] == ["a", "b"]
    assert rows[0]["title"] == "half ?"
    assert rows[0]["tags"] == ["ok", "?"]


def test_hostile_text_comes_back_as_it_went_in(store: Store):
    titles = ["a/../b", "quote \" and ' both", "line\nbreak\ttab", "nul\x00", "🎮" * 250, "'; DROP TABLE videos; --"]
    store.append("videos", [{"video_id": str(k), "title": title} for k, title in enumerate(titles)])
    store.merge("videos", [{"video_id": "0", "title": titles[0]}], on=["video_id"])
    assert sorted(store.read("videos", columns=["title"])["title"].to_pylist()) == sorted(titles)


def test_rows_in_a_wrong_type_are_refused(store: Store):
    with pytest.raises(pa.ArrowInvalid):
        store.append("clips", [{"clip_id": "a", "start_ms": "soon"}])
    assert store.version("clips") == -1


def test_an_arrow_table_takes_the_order_of_the_schema():
    table = rows_table("takedowns", pa.table({"reason": ["r"], "takedown_id": ["1"]}))
    assert table.schema == SCHEMAS["takedowns"]
    assert table.to_pylist()[0] == {
        "takedown_id": "1",
        "kind": None,
        "target": None,
        "target_hash": None,
        "salt": None,
        "part_of": None,
        "removed": None,
        "reason": "r",
        "requested_at": None,
    }


def _foreign(store: Store, description: str) -> None:
    folder = Path(store.root) / "tables" / "takedowns"
    folder.mkdir(parents=True)
    write_deltalake(str(folder), pa.table({"takedown_id": ["old"]}), description=description)


@pytest.mark.parametrize(
    "touch",
    [
        lambda store: store.read("takedowns"),
        lambda store: store.version("takedowns"),
        lambda store: list(store.scan("takedowns", ["takedown_id"])),
        lambda store: store.append("takedowns", [tombstone(1)]),
        lambda store: store.merge("takedowns", [tombstone(1)], on=["takedown_id"]),
        lambda store: store.replace("takedowns", [tombstone(1)]),
    ],
)
def test_a_table_of_a_newer_schema_is_refused_by_every_operation(store: Store, touch: Callable[[Store], object]):
    _foreign(store, "lampworks schema 99")
    with pytest.raises(UserError, match=r"'takedowns'.*newer lampworks \(schema 99.*update lampworks"):
        touch(store)
    assert len(DeltaTable(f"{store.root}/tables/takedowns").history()) == 1


def test_a_table_that_something_else_wrote_is_refused(store: Store):
    _foreign(store, "quarterly figures")
    with pytest.raises(UserError, match="not written by lampworks"):
        store.read("takedowns")


def test_a_table_from_before_a_column_was_added_reads_it_as_null_and_grows(store: Store):
    _foreign(store, "lampworks schema 1")
    assert store.read("takedowns").to_pylist()[0]["reason"] is None
    assert next(store.scan("takedowns", ["reason", "takedown_id"])).to_pylist() == [
        {"reason": None, "takedown_id": "old"}
    ]
    store.append("takedowns", [tombstone("appended")])
    store.merge("takedowns", [tombstone("merged"), tombstone("old", "filled")], on=["takedown_id"])
    store.replace("takedowns", [tombstone("merged", "replaced")], where="takedown_id = 'merged'")
    assert {row["takedown_id"]: row["reason"] for row in store.read("takedowns").to_pylist()} == {
        "old": "filled",
        "appended": "asked",
        "merged": "replaced",
    }


NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def found(name: str, **facts: Any) -> dict[str, Any]:
    return {"video_id": name, "queries": ["q"], "found_at": NOW, **facts}


def test_texts_are_added_to_the_lists_of_the_rows_named_and_to_no_other(store: Store):
    store.add_to_lists("videos", "video_id", "queries", {"a": ["new"]})
    assert store.version("videos") == -1
    store.append("videos", [found(name, title=f"title {name}", tags=["t"]) for name in "abc'"])
    evil = "it's \\ \n \" $1"
    store.add_to_lists("videos", "video_id", "queries", {"a": ["q", evil, "two"], "c": ["two"], "'": ["two"]})
    rows = {row["video_id"]: row for row in store.read("videos").to_pylist()}
    assert {name: row["queries"] for name, row in rows.items()} == {
        "a": ["q", evil, "two"], "b": ["q"], "c": ["q", "two"], "'": ["q", "two"],
    }  # fmt: skip
    assert {(row["title"], tuple(row["tags"])) for row in rows.values()} == {(f"title {name}", ("t",)) for name in rows}
    version = store.version("videos")
    assert store.add_to_lists("videos", "video_id", "queries", {}) == version


def test_a_merge_where_the_table_is_new_makes_it(store: Store):
    store.merge("takedowns", [tombstone(1), tombstone(2)], on=["takedown_id"], inputs={"from": 1})
    assert ids(store) == ["1", "2"]
    assert store.inputs("takedowns") == {"from": 1}


def test_rows_that_a_merge_rewrote_are_found_by_any_condition_on_their_text(store: Store):
    store.append("takedowns", [tombstone(1), tombstone(2, "court")])
    # a merge rewrites files with another string type, for which Arrow itself has no comparison
    store.merge("takedowns", [tombstone(2, "court order"), tombstone(3)], on=["takedown_id"])
    asked = (pc.field("reason") == "asked") & (pc.field("kind") == "video")
    assert sorted(store.read("takedowns", ["target"], asked)["target"].to_pylist()) == ["v1", "v3"]
    assert store.read("takedowns", ["reason"], pc.field("target").isin(["v2"]))["reason"].to_pylist() == ["court order"]
    assert len(store.read("takedowns", where=pc.field("kind") == "channel")) == 0
    assert sum(len(rows) for rows in store.scan("takedowns", ["target"], asked)) == 2


# -- columns that repeat a part of clip_id --------------------------------------------------------------------------

OLD_CLIPS = ["youtube-a-b-000016000-0a1b2c3d", "youtube-c-000000000-0a1b2c3d", "no clip id", None]


def store_of_before(store: Store, table: str) -> None:
    """Write a table as it was before `video_id` and `clip_spec` existed."""
    folder = Path(store.root) / "tables" / table
    folder.mkdir(parents=True)
    old = pa.table({"clip_id": pa.array(OLD_CLIPS, pa.string()), "batch": ["b"] * 4})
    write_deltalake(str(folder), old, description="lampworks schema 1")


@pytest.mark.parametrize("table", ["duplicates", "scores", "labels"])
def test_rows_written_before_the_columns_existed_read_as_if_they_had_them(store: Store, table: str):
    store_of_before(store, table)
    columns = ["video_id", "clip_spec"]
    expected = [
        {"video_id": "youtube-a-b", "clip_spec": "0a1b2c3d"},
        {"video_id": "youtube-c", "clip_spec": "0a1b2c3d"},
        {"video_id": None, "clip_spec": None},
        {"video_id": None, "clip_spec": None},
    ]
    assert store.read(table, columns).to_pylist() == expected
    assert [row for batch in store.scan(table, columns) for row in batch.to_pylist()] == expected
    assert store.read(table).schema == SCHEMAS[table]


def test_old_and_new_rows_are_found_by_video_alike(store: Store):
    store_of_before(store, "scores")
    store.append("scores", [{"clip_id": "youtube-c-000016000-ffffffff"}, {"clip_id": "youtube-d-000016000-ffffffff"}])
    mine = pc.field("video_id") == "youtube-c"
    assert sorted(store.read("scores", ["clip_id"], mine)["clip_id"].to_pylist()) == [
        "youtube-c-000000000-0a1b2c3d",
        "youtube-c-000016000-ffffffff",
    ]
    assert sum(len(batch) for batch in store.scan("scores", ["batch"], mine)) == 2
    # a merge rewrites files with another string type
    store.merge("scores", [{"clip_id": OLD_CLIPS[0], "probability": 0.5}], on=["clip_id"])
    both = pc.field("clip_spec").isin(["0a1b2c3d"]) & (pc.field("video_id") == "youtube-a-b")
    assert store.read("scores", ["probability"], both)["probability"].to_pylist() == [0.5]
    assert len(store.read("scores", ["video_id"], mine)) == 2


def test_a_writer_that_leaves_the_columns_out_still_writes_them(store: Store):
    store.append("labels", [{"event_id": "1", "clip_id": OLD_CLIPS[0]}, {"event_id": "2", "video": "level 1.mp4"}])
    stored = DeltaTable(store.url("tables/labels")).to_pyarrow_table(columns=["event_id", "video_id", "clip_spec"])
    assert stored.sort_by("event_id").to_pylist() == [
        {"event_id": "1", "video_id": "youtube-a-b", "clip_spec": "0a1b2c3d"},
        {"event_id": "2", "video_id": None, "clip_spec": None},
    ]


def test_a_column_that_an_older_table_lacks_is_null_in_a_condition_too(tmp_path):
    store = Store(tmp_path)
    older = pa.table({"video_id": ["a", "b"], "title": ["t", "u"]})
    write_deltalake(str(tmp_path / "tables" / "videos"), older, description="lampworks schema 1", mode="append")
    assert store.read("videos", ["video_id"], pc.is_valid(pc.field("thumbnail")))["video_id"].to_pylist() == []
    either = pc.is_null(pc.field("thumbnail")) & (pc.field("title") == "u")
    assert store.read("videos", ["video_id"], either)["video_id"].to_pylist() == ["b"]
    assert [row.to_pylist() for row in store.scan("videos", ["video_id"], either)] == [[{"video_id": "b"}]]
