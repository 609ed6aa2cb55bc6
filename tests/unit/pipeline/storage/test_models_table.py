from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.storage.models_table import (
    ModelRecord,
    all_models,
    append_model,
    find_model,
    models_of_kind,
    newest_model,
    replace_model,
)
from pipeline.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "root")


def record(model_id: str, day: int = 1, kind: str = "world_model", **values: object) -> ModelRecord:
    about = {"path": f"models/{kind}/{model_id}", "config": {}, "metrics": {}, "inputs": {}, **values}
    return ModelRecord(model_id=model_id, kind=kind, created_at=datetime(2026, 1, day, tzinfo=UTC), **about)


def test_a_record_comes_back_as_it_was_written(store: Store) -> None:
    written = record(
        "a", config={"width": 8}, metrics={"psnr": 1.5}, inputs={"seed": 0}, parameters=7, steps=3, shards_version="s1"
    )
    append_model(store, written)
    assert newest_model(store, "world_model") == written


def test_json_columns_are_written_with_sorted_keys(store: Store) -> None:
    append_model(store, record("a", metrics={"b": 1, "a": 2}))
    assert store.read("models")["figures"].to_pylist() == ['{"a": 2, "b": 1}']


def test_the_newest_is_the_last_created_whatever_was_written_last(store: Store) -> None:
    for name, day in (("new", 2), ("old", 1)):
        append_model(store, record(name, day))
    assert [found.model_id for found in models_of_kind(store, "world_model")] == ["old", "new"]
    assert newest_model(store, "world_model") == record("new", 2)


def test_of_two_created_at_once_the_greater_id_is_the_newest(store: Store) -> None:
    for name in ("b", "a"):
        append_model(store, record(name))
    assert newest_model(store, "world_model") == record("b")


def test_all_records_come_the_oldest_first_whatever_their_kind(store: Store) -> None:
    for each in (record("w2", 2), record("w1", 1), record("t1", 3, "video_tokenizer")):
        append_model(store, each)
    assert [found.model_id for found in all_models(store)] == ["w1", "w2", "t1"]


def test_without_a_record_there_is_no_newest(store: Store) -> None:
    assert newest_model(store, "world_model") is None
    append_model(store, record("t1", kind="video_tokenizer"))
    assert newest_model(store, "world_model") is None


def test_a_record_is_found_by_kind_and_id(store: Store) -> None:
    append_model(store, record("a", 2))
    append_model(store, record("b", 1))
    assert find_model(store, "world_model", "b") == record("b", 1)
    assert find_model(store, "video_tokenizer", "b") is None


def test_replacing_keeps_one_row_per_id(store: Store) -> None:
    replace_model(store, record("a", metrics={"fps": 1}))
    replace_model(store, record("a", metrics={"fps": 2}))
    assert models_of_kind(store, "world_model") == [record("a", metrics={"fps": 2})]


def test_a_row_with_empty_columns_is_read_as_empty_values(store: Store) -> None:
    store.append("models", [{"model_id": "a", "kind": "world_model", "created_at": datetime(2026, 1, 1, tzinfo=UTC)}])
    assert newest_model(store, "world_model") == record("a", path="")
