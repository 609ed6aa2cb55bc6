"""A table behaves like a dictionary under any order of appends, merges and replaces; a blob range like a slice."""

from __future__ import annotations

import tempfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.storage.rows import rows_table
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
KEYS = st.sampled_from(["a", "b'c", 'd"e', "f\n", "🎮"])
STEP = st.tuples(st.sampled_from(["merge", "replace", "replace one"]), st.dictionaries(KEYS, TEXT, max_size=3))


def rows(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"takedown_id": key, "reason": value} for key, value in values.items()]


@settings(max_examples=25, deadline=None)
@given(st.lists(STEP, max_size=6))
def test_merge_and_replace_are_those_of_a_dictionary(steps: list[tuple[str, dict[str, str]]]):
    expected: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for kind, values in steps:
            before = store.version("takedowns")
            if kind == "merge":
                store.merge("takedowns", rows(values), on=["takedown_id"])
                expected |= values
                assert (store.version("takedowns") > before) == bool(values)
            elif kind == "replace":
                store.replace("takedowns", rows(values))
                expected = dict(values)
            else:
                values = dict(list(values.items())[:1]) or {"a": "only"}
                key = next(iter(values))
                where = "takedown_id = '{}'".format(key.replace("'", "''"))
                store.replace("takedowns", rows(values), where=where)
                expected |= values
        found = store.read("takedowns", columns=["takedown_id", "reason"]).to_pylist()
    assert sorted((row["takedown_id"], row["reason"]) for row in found) == sorted(expected.items())


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 220), st.integers(0, 220))
def test_a_range_of_a_blob_is_the_slice_or_an_error(data: bytes, offset: int, size: int):
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        store.write_blob("x", data)
        if size == 0 or offset + size <= len(data):
            assert store.read_range("x", offset, size) == data[offset : offset + size]
        else:
            with pytest.raises(EOFError):
                store.read_range("x", offset, size)


@given(st.lists(st.fixed_dictionaries({"video_id": TEXT, "title": st.none() | TEXT, "tags": st.lists(TEXT)})))
@pytest.mark.heavy
def test_rows_keep_their_values_through_the_schema(values: list[dict[str, Any]]):
    table = rows_table("videos", values)
    assert table.schema == SCHEMAS["videos"]
    assert table.select(["video_id", "title", "tags"]).to_pylist() == values
