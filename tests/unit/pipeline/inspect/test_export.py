"""The flat export: one row per clip, with everything that is known of it."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.clip_spec import clip_spec
from pipeline.clips.flags import FLAGS
from pipeline.config import ClipConfig, Config
from pipeline.errors import UserError
from pipeline.inspect.export import EXPORT_SCHEMA, export_clips
from pipeline.label_events import current_labels
from pipeline.shards.plan import sidecar
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from tests.synthetic import CONFIG, finished_store


def exported(store: Store, folder: Path, config: Config = CONFIG) -> dict[str, dict[str, object]]:
    path = folder / "flat.parquet"
    count = export_clips(store, config, path)
    table = pq.read_table(path)
    assert table.schema.equals(EXPORT_SCHEMA)
    assert len(table) == count
    rows = table.to_pylist()
    assert [(r["batch"], r["video_id"], r["start_s"]) for r in rows] == sorted(
        (r["batch"], r["video_id"], r["start_s"]) for r in rows
    )
    return {row["clip_id"]: row for row in rows}


def test_every_clip_has_one_row_that_leads_to_its_bytes_and_its_source(tmp_path: Path) -> None:
    store = finished_store(tmp_path / "root")
    rows = exported(store, tmp_path)
    clips = {row["clip_id"]: row for row in store.read("clips").to_pylist()}
    videos = {row["video_id"]: row for row in store.read("videos").to_pylist()}
    assert rows.keys() == clips.keys()
    fetched: dict[str, list[object]] = {}
    for attempt in store.read("downloads").to_pylist():
        if attempt["state"] == "ok":
            fetched.setdefault(attempt["video_id"], []).append(attempt["finished_at"])
    for clip_id, row in rows.items():
        clip, video = clips[clip_id], videos[row["video_id"]]
        assert (row["tar"], row["offset"], row["size"]) == (clip["tar"], clip["offset"], clip["size"])
        assert store.exists(str(row["tar"]))
        assert (row["source"], row["title"]) == (video["url"], video["title"])
        assert (row["channel"], row["licence"]) == (video["channel"], video["licence"])
        assert row["retrieved_at"] == min(fetched[row["video_id"]])
        assert (row["start_s"], row["end_s"]) == (clip["start_ms"] / 1000, clip["end_ms"] / 1000)


def test_sources_are_named_without_the_secrets_of_their_addresses(tmp_path: Path) -> None:
    store = finished_store(tmp_path / "root")
    videos = store.read("videos").to_pylist()
    store.replace("videos", [{**row, "url": f"http://me:SECRET@host/{row['native_id']}?SECRET"} for row in videos])
    names = {row["video_id"]: f"http://host/{row['native_id']}" for row in videos}
    rows = exported(store, tmp_path)
    assert rows
    assert all(row["source"] == names[str(row["video_id"])] for row in rows.values())
    sample = defaultdict(type(None), url="http://me:SECRET@host/a?SECRET")
    assert json.loads(sidecar(sample))["source"] == "http://host/a"


def test_labels_scores_and_decisions_stand_beside_their_clip(tmp_path: Path) -> None:
    store = finished_store(tmp_path / "root")
    rows = exported(store, tmp_path)
    scores = {row["clip_id"]: row["probability"] for row in store.read("scores").to_pylist()}
    for row in store.read("curated").to_pylist():
        found = rows[row["clip_id"]]
        assert (found["decision"], found["reason"], found["split"]) == (row["decision"], row["reason"], row["split"])
        assert found["score"] == scores.get(row["clip_id"])
    ratings = {clip_id: row["rating"] for clip_id, row in rows.items() if row["rating"] is not None}
    assert ratings == current_labels(store, CONFIG)
    copies = {row["clip_id"]: row["representative"] for row in store.read("duplicates").to_pylist()}
    assert {clip_id: row["duplicate_of"] for clip_id, row in rows.items()} == copies


def test_a_copy_says_how_it_lies_to_its_original_and_a_look_alike_what_it_looks_like(tmp_path: Path) -> None:
    store = finished_store(tmp_path / "root")
    (first, *rest) = store.read("duplicates").to_pylist()
    first |= {"shift_ms": -3200, "mirrored": True, "similar_to": rest[0]["clip_id"]}
    store.replace("duplicates", [first, *rest])
    row = exported(store, tmp_path)[first["clip_id"]]
    assert (row["shift_ms"], row["mirrored"], row["similar_to"]) == (-3200, True, rest[0]["clip_id"])


def test_flags_follow_the_thresholds_of_today(tmp_path: Path) -> None:
    store = finished_store(tmp_path / "root")
    config = dataclasses.replace(CONFIG, clips=ClipConfig(max_still_share=-1.0))
    for row in exported(store, tmp_path, config).values():
        assert row["flag_still"]
        assert "still" in str(row["flags"]).split(",")
        assert set(str(row["flags"]).split(",")) == {flag for flag in FLAGS if row[f"flag_{flag}"]}


def test_the_newest_model_scores(tmp_path: Path) -> None:
    store = finished_store(tmp_path / "root")
    models = store.read("models").sort_by("created_at")["model_id"].to_pylist()
    row = store.read("scores").to_pylist()[0]
    store.append("scores", [row | {"model_version": models[-1], "probability": 0.123}])
    assert exported(store, tmp_path)[row["clip_id"]]["score"] == 0.123


def test_before_labels_and_decisions_the_rest_is_there(tmp_path: Path) -> None:
    store = finished_store(tmp_path / "root")
    for name in ("labels", "scores", "curated", "duplicates"):
        store.replace(name, [])
    for row in exported(store, tmp_path).values():
        assert row["rating"] is row["score"] is row["decision"] is row["duplicate_of"] is None
        assert row["split"] in {"train", "val"}


def test_what_was_taken_down_is_not_exported(tmp_path: Path) -> None:
    store = finished_store(tmp_path / "root")
    video = store.read("clips", ["video_id"])["video_id"].to_pylist()[0]
    request_takedown(store, "video", video, "asked by the owner")
    assert video not in {row["video_id"] for row in exported(store, tmp_path).values()}


def test_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    store = finished_store(tmp_path / "root")
    for name in ("a.parquet", "b.parquet"):
        export_clips(store, CONFIG, tmp_path / name)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_an_empty_store_gives_an_empty_table(store: Store, tmp_path: Path) -> None:
    assert exported(store, tmp_path) == {}


def test_a_file_that_cannot_be_written_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent"):
        export_clips(store, CONFIG, tmp_path / "absent" / "x.parquet")
    assert clip_spec(CONFIG.clips)
