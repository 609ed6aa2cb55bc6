import re

import pyarrow as pa
import pytest

from pipeline.storage.schemas import DERIVED_FROM_CLIP_ID, SCHEMAS

KEYS = {
    "searches": "search_id",
    "videos": "video_id",
    "downloads": "attempt_id",
    "breakers": "event_id",
    "clippings": "video_id",
    "clips": "clip_id",
    "replaced": "clip_id",
    "duplicates": "clip_id",
    "labels": "event_id",
    "embeddings": "clip_id",
    "scores": "clip_id",
    "curated": "clip_id",
    "decided_before": "clip_id",
    "curation_changes": "clip_id",
    "shards": "version",
    "tokens": "version",
    "models": "model_id",
    "uncovered": "situation_id",
    "costs": "cost_id",
    "takedowns": "takedown_id",
}


def test_every_table_starts_with_what_its_rows_are_known_by():
    assert {name: schema.names[0] for name, schema in SCHEMAS.items()} == KEYS


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_columns_are_words_of_one_alphabet_and_times_carry_their_zone(name: str):
    for field in SCHEMAS[name]:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", field.name)
        if pa.types.is_timestamp(field.type):
            assert field.type.tz == "UTC"
            assert field.name.endswith("_at")


@pytest.mark.parametrize(
    "name",
    [
        "clippings",
        "clips",
        "duplicates",
        "embeddings",
        "scores",
        "curated",
        "decided_before",
        "curation_changes",
        "shards",
    ],
)
def test_derived_tables_hold_no_time_of_day(name: str):
    # the same inputs must give the same rows, whenever they are computed
    assert not any(pa.types.is_timestamp(field.type) for field in SCHEMAS[name])


@pytest.mark.parametrize("name", [name for name, schema in SCHEMAS.items() if "clip_id" in schema.names])
def test_every_table_about_clips_has_their_video_and_their_format(name: str):
    assert {"video_id", "clip_spec"} <= set(SCHEMAS[name].names)


def test_only_columns_of_the_table_are_derived():
    for name, columns in DERIVED_FROM_CLIP_ID.items():
        assert {"clip_id", *columns} <= set(SCHEMAS[name].names)
