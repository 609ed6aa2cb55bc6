"""Damaged files that are no rows, tars or weights: derived ones are named with the command that makes them again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assets.report.contact_sheets import sheet_key, withdraw_sheets
from assets.report.page import write_report
from assets.settings import Settings
from classifier.labels.journal import Journal, check_event
from classifier.labels.queue import load_queue, queue_is_current, write_queue
from models.play.starts.held_out import start_frames
from pipeline.arcade.catalog import catalog, read_catalog, write_catalog
from pipeline.arcade.truth import Truth, read_truth, truth_path, write_truth
from pipeline.config import ArcadeConfig, DownloadConfig
from pipeline.download.rate_limits import SiteLimits
from pipeline.errors import UserError
from pipeline.inspect.deep import find_faults
from pipeline.inspect.mend import mend
from pipeline.search.journal import SearchJournal
from pipeline.search.spot_check import KEY, withdraw_spot_check
from pipeline.shards.read import read_manifest
from pipeline.shards.write import write_shards
from pipeline.sources.base import Candidate
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown

pytestmark = pytest.mark.usefixtures("inline")

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "a page": lambda data: b"<!doctype html>" * 9,
    "a list": lambda data: b"[]",
    "a number": lambda data: b"7",
    "brackets": lambda data: b"[" * 100_000,
    "other bytes": lambda data: b"\xff\xfe\x00" + data,
    "other content": lambda data: b'{"clips": [1], "shards": 3}',
}
damaged = pytest.mark.parametrize("damage", DAMAGE)


def spoil(root: Store, pattern: str, damage: str) -> Path:
    path = sorted(Path(root.root).glob(pattern))[0]
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    return path


def test_a_damaged_queue_is_named_and_written_again(root: Store, settings: Settings) -> None:
    write_queue(settings.job())  # the pass wrote it before it decided
    before, path = load_queue(root), Path(root.root) / "labels" / "queue.json"
    whole = path.read_bytes()
    for damage in DAMAGE.values():
        path.write_bytes(damage(whole))
        with pytest.raises(UserError, match=r"labels/queue\.json is damaged.*lampworks run --select label_queue"):
            load_queue(root)
        assert not queue_is_current(root, settings.config)
    write_queue(settings.job())
    assert load_queue(root) == before


def test_a_damaged_manifest_is_named_and_written_again(root: Store, settings: Settings, lampworks: Any) -> None:
    before = sorted(key for key in root.list_blobs("shards"))
    [path] = Path(root.root).glob("shards/*/manifest.json")
    whole = path.read_bytes()
    for damage in DAMAGE.values():
        path.write_bytes(damage(whole))
        with pytest.raises(UserError, match=r"manifest\.json is damaged"):
            read_manifest(root, path.parent.name)
    code, told = lampworks("status")
    assert code == 2
    assert "manifest.json is damaged" in told
    # as the message says
    assert f"Delete the folder shards/{path.parent.name} of the root and run `lampworks run --root " in told
    for key in before:
        root.delete(key)
    write_shards(settings.job())
    assert sorted(root.list_blobs("shards")) == before
    assert lampworks("status")[0] == 0


def test_a_damaged_file_of_an_evaluation_is_shown_by_no_page(root: Store, settings: Settings) -> None:
    for name in ("start-00.png", "pictures.json"):
        [path] = Path(root.root).glob(f"models/world_evaluation/*/{name}")
        whole = path.read_bytes()
        for damage in DAMAGE.values():
            path.write_bytes(damage(whole))
            with pytest.raises(UserError, match=rf"{name} .*is not the file that was published.*doctor --deep --mend"):
                start_frames(root, settings.config)
        if name == "pictures.json":
            with pytest.raises(UserError, match=rf"{name} .*is not the file that was published"):
                write_report(root, settings.config)
        path.write_bytes(whole)


@damaged
def test_a_sheet_whose_list_of_videos_is_lost_does_not_outlive_a_takedown(
    root: Store, settings: Settings, damage: str
) -> None:
    spoil(root, "reports/spot-check.json", damage)
    about = spoil(root, "reports/contact/*.json", damage)
    batch = about.stem
    picture = root.read_blob(sheet_key(batch))
    video = root.read("videos", ["video_id"])["video_id"].to_pylist()[0]
    request_takedown(root, "video", video, "asked")
    assert withdraw_spot_check(root)
    assert not root.exists(KEY)
    assert withdraw_sheets(root, settings.config) == [batch]
    assert root.read_blob(sheet_key(batch)) != picture
    assert video not in json.loads(root.read_blob(f"reports/contact/{batch}.json"))["shown"]


@damaged
def test_damaged_settings_of_a_root_are_named(root: Store, lampworks: Any, damage: str) -> None:
    path = spoil(root, "config.yaml", damage)
    code, told = lampworks("status")
    # an empty file, or an empty list, says nothing: the preset's own settings hold
    assert code == 2 or damage in {"empty", "a list"}, told
    if code:
        assert str(path) in told


@damaged
def test_a_damaged_labelling_journal_is_named_with_the_command_that_saves_it(
    store: Store, whole: Store, damage: str
) -> None:
    home, labels = home_of(store), whole.read("labels")
    store.append("labels", labels)
    event = {"event_id": f"{0:08d}-0000-4000-8000-{0:012d}", "kind": "rate", "rating": 4}
    event["clip_id"] = labels["clip_id"][0].as_py()
    with Journal(home.journal) as journal:
        journal.append([check_event(event)], "ada")
    spoil(store, "labels.sqlite", damage)
    try:
        with Journal(home.journal) as journal:
            assert journal.events() == []  # SQLite takes an empty file for a new one
        # so does it with an empty one, or one so short that it has no header
        assert damage in {"empty", "a number"}
        return
    except UserError as exc:
        told = str(exc)
    assert "lampworks doctor --mend" in told
    faults = find_faults(store, home)
    assert [fault.kind for fault in faults] == ["journal"]
    mend(store, home, faults)
    with Journal(home.journal) as journal:
        assert len(journal.events()) <= 1
    assert store.read("labels") == labels


@pytest.mark.parametrize("place", [0.02, 0.3, 0.9, 0.9999])
def test_a_tar_that_a_killed_run_left_is_kept_only_where_it_is_whole(
    root: Store, settings: Settings, place: float
) -> None:
    before = {key: root.sha256(key) for key in root.list_blobs("shards")}
    [path] = Path(root.root).glob("shards/*/train/*.tar")
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 1
    path.write_bytes(data)
    root.replace("shards", [])
    next(Path(root.root).glob("shards/*/manifest.json")).unlink()
    write_shards(settings.job())
    assert {key: root.sha256(key) for key in root.list_blobs("shards")} == before


@damaged
def test_a_damaged_count_of_requests_begins_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "limits.sqlite"
    config = DownloadConfig(host_daily=1, host_interval_s=0.0)
    with SiteLimits(path, "youtube", config) as limits:
        assert limits.start("youtube") is None
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with SiteLimits(path, "youtube", config) as limits:
        assert limits.start("youtube") is None
        assert limits.start("youtube") is not None


@damaged
def test_a_damaged_journal_of_a_search_asks_again(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "search.jsonl"
    candidate = Candidate(video_id="x-1", extractor="x", native_id="1", url="http://x.example/1", query="words")
    with SearchJournal(path) as journal:
        journal.note(candidate)
    whole = path.read_bytes()
    path.write_bytes(DAMAGE[damage](whole))
    with SearchJournal(path) as journal:
        assert "x-1" not in journal or journal.answers["x-1"] == candidate
        journal.note(candidate)
    with SearchJournal(path) as journal:
        assert journal.answers["x-1"] == candidate


@pytest.mark.slow
def test_a_damaged_database_of_dagster_is_named_and_made_again_by_reconcile(root: Store, lampworks: Any) -> None:
    code, told = lampworks("reconcile")
    assert code == 0, told
    folder = Path(root.root) / "dagster"
    databases = [path for path in folder.rglob("*.db") if path.stat().st_size]
    assert databases
    for path in databases:
        path.write_bytes(b"no database" * 1000)
    code, told = lampworks("reconcile")
    assert code == 2, told
    assert str(folder) in told
    assert "lampworks reconcile" in told
    folder.rename(folder.with_name("aside"))
    code, told = lampworks("reconcile")
    assert code == 0, told
    assert "reported as materialized" in told


@damaged
def test_damaged_files_of_the_recorded_games_are_written_again(tmp_path: Path, damage: str) -> None:
    recordings = catalog(ArcadeConfig(videos=3, seconds=5.0))
    write_catalog(tmp_path, recordings)
    path = tmp_path / "catalog.json"
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    write_catalog(tmp_path, recordings)
    assert read_catalog(tmp_path) == recordings
    truth = Truth("a1", "platformer", 5.0, ((0.0, 5.0, 5),), None, "f")
    write_truth(tmp_path, truth)
    path = truth_path(tmp_path, "a1")
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert read_truth(tmp_path, "a1") is None
