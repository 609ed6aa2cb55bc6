"""The status counts every stage, its totals balance at every stage of a pass, and a lost row unbalances them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inspect.conservation import violations
from pipeline.inspect.status import status
from pipeline.inspect.status_text import format_status
from pipeline.inspect.status_types import VideosStatus
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from tests.synthetic import (
    CONFIG,
    START,
    add_clips,
    add_downloads,
    add_labels,
    add_videos,
    decide_all,
    finished_store,
)

STEPS = CONFIG.latent_actions.unquantized_steps + CONFIG.dynamics.steps


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with every stage done; no test may write to it."""
    return finished_store(tmp_path_factory.mktemp("finished"))


def copy_of(store: Store, root: Path) -> Store:
    return Store(shutil.copytree(store.root, root))


def test_an_empty_store_has_nothing_and_loses_nothing(store: Store):
    found = status(store, CONFIG)
    assert found.conserved
    assert found.videos == VideosStatus(found=0, kept=0, licences={}, rejected={})
    assert found.clips.total == 0
    assert found.shards.version is None
    assert found.evaluation == {}
    assert "0 found" in format_status(found)
    assert not (Path(store.root) / "tables").exists()  # looking writes nothing


def test_a_finished_store_is_counted_stage_by_stage(finished: Store):
    found = status(finished, CONFIG).to_json()
    assert found["videos"] == {
        "found": 20,
        "kept": 12,
        "removed": 0,
        "licences": {"unknown": 12},
        "rejected": {
            "action: no action word": 2,
            "keyword: no platformer word in title": 2,
            "negation:movie": 2,
            "negation:unboxing": 2,
        },
    }
    downloads = {"ok": 10, "failed": {"not_found": 1}, "rejected": {}, "pending": 1, "taken_down": 0}
    downloads["pending_by_class"] = {"http_503": 1}
    assert found["downloads"] == downloads
    clips = found["clips"]
    assert (clips["total"], clips["videos_cut"], clips["videos_pending"]) == (24, 8, 1)
    assert clips["failed"] == {"decode_error": 1}
    assert clips["flagged"] == {"overlay": 4, "still": 4}
    assert (clips["source_seconds"], clips["clip_seconds"], clips["remainder_seconds"]) == (400, 384, 16)
    assert clips["duplicates"] > 0
    assert found["labels"]["total"] == 24
    assert found["labels"]["by_rating"] == {"1": 8, "2": 0, "3": 0, "4": 4, "5": 12}
    assert found["labels"]["unresolved"] == 1
    assert found["labels"]["annotators"] == {"ada <i>": 4, "arcade": 24}
    assert found["curated"]["current"] is True
    assert sum(found["curated"]["reasons"].values()) == 24
    assert "drop: duplicate" in found["curated"]["reasons"]  # of whichever clip
    assert found["shards"]["current"] is True
    assert found["models"]["world_model"] == {"model_id": "wm1", "parameters": 2_100_000, "steps": STEPS}
    assert found["evaluation"]["delta_t_psnr_permuted"] == {"value": 3.9, "low": 3.3, "high": 4.5, "reason": None}
    assert found["evaluation"]["code_entropy"] == {"value": 1.91, "low": None, "high": None, "reason": None}
    assert found["conserved"] is True


def recompute(found: dict[str, Any]) -> bool:
    """Tell whether all totals balance, from nothing but the printed object and without the project's own code."""
    videos, downloads, clips, curated = (found[name] for name in ("videos", "downloads", "clips", "curated"))
    decided = curated["keep"] + curated["drop"] + curated["review"] + curated["undecided"]
    seconds = clips["clip_seconds"] + clips["remainder_seconds"] + sum(clips["lost_seconds"].values())
    samples = sum(found["shards"][split]["samples"] for split in ("train", "val", "test"))
    return (
        videos["found"] == videos["kept"] + sum(videos["rejected"].values())
        and videos["kept"]
        == downloads["ok"] + sum(downloads["failed"].values()) + downloads["pending"] + downloads["taken_down"]
        and downloads["ok"] == clips["videos_cut"] + sum(clips["failed"].values()) + clips["videos_pending"]
        and abs(clips["source_seconds"] - seconds) < 0.01
        and clips["total"] == decided
        and (not curated["current"] or not curated["undecided"])
        and (not found["shards"]["current"] or samples == curated["keep"])
        and not found["models"]["dangling"]
        and not found["deleted_rows"]
    )


def test_the_printed_object_is_json_and_its_sums_can_be_checked_by_anyone(finished: Store):
    found = status(finished, CONFIG)
    assert recompute(json.loads(json.dumps(found.to_json())))
    assert violations(found) == []


# a row of each table that something else made disappear
LOST = {
    "searches": "search_id = 's0'",
    "videos": "video_id = 'arcade-v004'",
    "downloads": "video_id = 'arcade-v004'",
    "clippings": "video_id = 'arcade-v004'",
    "clips": "start_ms = 16000 AND video_id = 'arcade-v004'",
    "duplicates": "clip_id LIKE 'arcade-v004-000000000%'",
    "labels": "event_id LIKE 'ada%gone%' OR event_id = 'ada <i>-None'",
    "scores": "clip_id LIKE 'arcade-v004-000000000%'",
    "curated": "clip_id LIKE 'arcade-v004-000000000%'",
    "shards": "split = 'val'",
    "models": "model_id = 'wm1'",
}


@pytest.mark.parametrize("table", LOST)
def test_one_deleted_row_unbalances_the_totals_whichever_table_it_is_of(finished: Store, tmp_path: Path, table: str):
    store = copy_of(finished, tmp_path / "root")
    before = len(store.read(table))
    DeltaTable(f"{store.root}/tables/{table}").delete(LOST[table])
    assert len(store.read(table)) == before - 1
    found = status(store, CONFIG)
    assert found.to_json()["conserved"] is False
    assert not recompute(found.to_json())
    assert found.deleted_rows == {table: 1}
    assert "accounting   BROKEN" in format_status(found)
    assert all(sentence in format_status(found) for sentence in found.violations)


@pytest.mark.parametrize("table", ["videos", "downloads", "clippings", "clips", "curated", "shards", "models"])
def test_a_row_that_is_lost_without_a_trace_unbalances_a_total(finished: Store, tmp_path: Path, table: str):
    store = copy_of(finished, tmp_path / "root")
    DeltaTable(f"{store.root}/tables/{table}").delete(LOST[table])
    found = dataclasses.replace(status(store, CONFIG), deleted_rows={})
    assert violations(found)
    assert not recompute(found.to_json())


def test_a_rejected_video_that_is_lost_is_missed_too(finished: Store, tmp_path: Path):
    store = copy_of(finished, tmp_path / "root")
    DeltaTable(f"{store.root}/tables/videos").delete("video_id = 'arcade-v013'")
    found = dataclasses.replace(status(store, CONFIG), deleted_rows={})
    assert violations(found) == ["videos found by the searches: 20 is not 12 kept + 7 rejected"]


def test_every_stage_of_a_pass_conserves_what_there_is_so_far(store: Store):
    conserved = []
    videos = add_videos(store, CONFIG)
    conserved.append(status(store, CONFIG))
    downloads = add_downloads(store, videos)
    conserved.append(status(store, CONFIG))
    clips = add_clips(store, CONFIG, downloads)
    conserved.append(status(store, CONFIG))
    ratings = add_labels(store, clips)
    decide_all(store, CONFIG, clips, ratings)
    conserved.append(status(store, CONFIG))
    assert [found.violations for found in conserved] == [[], [], [], []]
    assert [found.downloads.pending for found in conserved] == [12, 1, 1, 1]
    assert [found.clips.videos_pending for found in conserved] == [0, 10, 1, 1]
    assert [found.curated.undecided for found in conserved] == [0, 0, 24, 0]


def test_a_pass_that_was_killed_between_two_commits_is_no_loss(store: Store):
    # a search writes `videos`, then `searches`; a cut writes `clips`, then `clippings`
    store.append("videos", [{"video_id": "a", "verdict": "kept", "rule": "off", "batch": "b"}])
    store.append("clips", [{"clip_id": "a-000000000-00000000", "video_id": "a", "clip_spec": "00000000", "flags": []}])
    found = status(store, CONFIG)
    assert found.conserved
    assert found.videos.found == 1
    assert found.clips.total == 0


def test_new_clips_after_a_decision_are_undecided_and_no_loss(finished: Store, tmp_path: Path):
    store = copy_of(finished, tmp_path / "root")
    videos = [{"video_id": f"arcade-new{k}", "verdict": "kept", "batch": "2026w47-0003"} for k in (0, 5, 6)]
    store.append("videos", videos)
    downloads = [{"video_id": video["video_id"], "batch": video["batch"], "sha256": "0"} for video in videos]
    store.append(
        "downloads", [{**row, "attempt_id": row["video_id"], "attempt": 1, "state": "ok"} for row in downloads]
    )
    add_clips(store, CONFIG, downloads)
    found = status(store, CONFIG)
    assert found.curated.undecided == 3
    assert found.curated.current is False
    assert found.violations == []
    assert "(outdated: its inputs changed since)" in format_status(found)


def test_a_takedown_is_counted_once_and_nothing_after_it(finished: Store, tmp_path: Path):
    store = copy_of(finished, tmp_path / "root")
    request_takedown(store, "video", "arcade-v004", "asked")
    request_takedown(store, "channel", "channel-5", "asked")
    found = status(store, CONFIG)
    assert found.downloads.taken_down == 2
    assert found.downloads.ok == 8
    assert found.clips.total == 18
    assert found.curated.keep + found.curated.drop + found.curated.review == 18
    assert found.violations == []


def test_a_decision_by_a_model_that_is_gone_is_named(finished: Store, tmp_path: Path):
    store = copy_of(finished, tmp_path / "root")
    DeltaTable(f"{store.root}/tables/models").delete("kind = 'quality_classifier'")
    found = dataclasses.replace(status(store, CONFIG), deleted_rows={})
    assert any("quality-classifier-0123456789ab" in sentence for sentence in violations(found))


ATTEMPT = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["ok", "failed", "pending", "rejected"]),
    st.integers(0, 9),
    st.sampled_from(["x", "y"]),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(ATTEMPT, max_size=8, unique_by=lambda attempt: (attempt[0], attempt[2])))
def test_a_video_counts_once_under_success_or_else_under_its_last_attempt(
    tmp_path_factory: pytest.TempPathFactory, attempts: list[tuple[str, str, int, str]]
):
    store = Store(tmp_path_factory.mktemp("attempts"))
    store.append("videos", [{"video_id": name, "verdict": "kept", "batch": "b"} for name in "abc"])
    rows = [
        {
            "attempt_id": f"{number}", "video_id": name, "batch": "b", "attempt": 1, "state": state,
            "finished_at": START + timedelta(minutes=minute), "error_class": None if state == "ok" else error,
        }
        for number, (name, state, minute, error) in enumerate(attempts)
    ]  # fmt: skip
    store.append("downloads", rows)
    expected: Counter[tuple[str, str]] = Counter()
    for name in "abc":
        mine = sorted((attempt for attempt in attempts if attempt[0] == name), key=lambda attempt: attempt[2])
        if any(state == "ok" for _, state, _, _ in mine):
            expected["ok", ""] += 1
        else:
            _, state, _, error = mine[-1] if mine else (name, "pending", 0, "new")
            expected[state, error] += 1
    found = status(store, CONFIG).downloads
    assert found.ok == expected["ok", ""]
    for state, counted in (
        ("failed", found.failed), ("rejected", found.rejected), ("pending", found.pending_by_class)
    ):  # fmt: skip
        assert counted == {error: count for (name, error), count in expected.items() if name == state}
    assert found.pending == sum(found.pending_by_class.values())


def test_the_terminal_shows_the_funnel_and_no_control_characters(finished: Store):
    found = status(finished, CONFIG)
    rejected = {f"negation:\x1b[2J{k}": 1 for k in range(8)}
    found = dataclasses.replace(found, videos=dataclasses.replace(found.videos, rejected=rejected))
    text = format_status(found)
    assert "20 found, 12 kept, 8 rejected" in text
    assert "accounting   OK: all totals balance" in text
    assert "\x1b" not in text
    assert all(len(line) < 130 for line in text.splitlines())


def test_every_table_is_watched():
    # a row that these lose is in no total; tokens and embeddings without their row are due again
    uncounted = {
        "takedowns", "breakers", "tokens", "embeddings", "replaced", "decided_before", "curation_changes", "uncovered",
        "costs",
    }  # fmt: skip
    assert set(LOST) | uncounted == set(SCHEMAS)


def test_a_newer_world_of_other_settings_changes_nothing(finished: Store, tmp_path: Path):
    store = copy_of(finished, tmp_path / "root")
    before = format_status(status(store, CONFIG))
    row = next(r for r in store.read("models").to_pylist() if r["kind"] == "world_model")
    inputs = json.dumps({**json.loads(row["inputs"]), "settings": "others"})
    trial = {**row, "model_id": "trial", "inputs": inputs, "parameters": 7}
    later = timedelta(days=1)
    store.append("models", [{**trial, "created_at": row["created_at"] + later}])
    evaluation = next(r for r in store.read("models").to_pylist() if r["kind"] == "world_evaluation")
    of_trial = {**evaluation, "model_id": "ev2", "inputs": json.dumps({"world_model": "trial"}), "figures": "{}"}
    store.append("models", [{**of_trial, "created_at": row["created_at"] + 2 * later}])
    assert format_status(status(store, CONFIG)) == before


def test_the_frechet_video_distance_is_never_without_its_network_counts_and_floors(finished: Store):
    found = status(finished, CONFIG)
    fvd = json.loads(json.dumps(found.to_json()))["fvd"]
    # the first one has no value on this machine
    assert (fvd["name"], fvd["value"], fvd["num_sources"], fvd["num_samples"]) == ("FVD[random3d]", 2.5, 9, 18)
    assert fvd["sha256"] == "1f1642b7" * 8
    assert {name: floor["value"] for name, floor in fvd["floors"].items()} == {"tokenizer": 1.25, "halves": 8.5}
    assert "FVD[random3d] 2.5 [1.9, 3.1]; floors tokenizer 1.25, halves 8.5" in format_status(found)


def test_metrics_of_other_evaluation_settings_are_marked_as_such(finished: Store):
    before = status(finished, CONFIG)
    assert before.evaluation_current is True
    assert "of other settings" not in format_status(before)
    other = dataclasses.replace(CONFIG, evaluation=dataclasses.replace(CONFIG.evaluation, seed=5))
    after = status(finished, other)
    assert after.evaluation_current is False
    assert after.evaluation == before.evaluation
    assert "metrics      of other settings, older shards or before a takedown; `lampworks run`" in format_status(after)


def test_models_of_older_shards_and_of_other_settings_are_told(finished: Store, tmp_path: Path):
    store = copy_of(finished, tmp_path / "root")
    dynamics = dataclasses.replace(CONFIG.dynamics, steps=5)
    shown = format_status(status(store, dataclasses.replace(CONFIG, dynamics=dynamics)))
    assert "no world model of the present settings; the newest of others is wm1 (`lampworks models`)" in shown
    assert "video tokenizer: 800,000 parameters" in shown
    assert "delta-t PSNR" not in shown, "the metrics are those of another world"
    store.replace("shards", [{**row, "version": "later"} for row in store.read("shards").to_pylist()])
    manifest = store.list_blobs("shards")
    store.write_blob("shards/later/manifest.json", store.read_blob(next(k for k in manifest if k.endswith(".json"))))
    found = status(store, CONFIG)
    assert [note.split(" was trained")[0] for note in found.models.notes] == ["video tokenizer tok1", "world model wm1"]
    assert found.models.in_use["world_model"].model_id == "wm1"
