"""What failed is due again after a retry, by id or by class, and the next run really tries it."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.clip_spec import clip_spec
from pipeline.clips.cut_batch import cut_batch
from pipeline.config import ClipConfig
from pipeline.download.batch import download_batch
from pipeline.download.due import due_batches
from pipeline.download.ledger import download_states
from pipeline.errors import UserError
from pipeline.inspect.failed_items import failed_items
from pipeline.inspect.retry import Retried, retry_failed
from pipeline.inspect.status import status
from pipeline.inspect.status_text import format_status
from pipeline.inspect.why import why
from pipeline.inspect.why_text import format_why
from pipeline.job import Job
from pipeline.search.search import search_videos
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests import searches
from tests.folders import Folder

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def folder(store: Store, tmp_path: Path) -> Folder:
    return Folder(store, tmp_path / "videos")


def retry(folder: Folder, *names: str, **how: Any) -> Retried:
    return retry_failed(Job(folder.store, folder.config, home_of(folder.store)), names, **how)


def broken(folder: Folder, name: str) -> None:
    (folder.folder / name).write_bytes(b"no video")
    folder.touch(name)


def ids(folder: Folder) -> dict[str, str]:
    rows = folder.store.read("videos", ["native_id", "video_id"]).to_pylist()
    return {row["native_id"]: row["video_id"] for row in rows}


def test_a_failed_download_is_due_again_and_has_all_its_attempts(folder: Folder) -> None:
    broken(folder, "a.mp4")
    folder.write(1, 4, "b.mp4")
    folder.collect()
    assert folder.collect() == 0
    made = retry(folder)
    assert made.counts == {"downloads": {"invalid_media": 1}}
    assert due_batches(folder.store, folder.config, searches.NOW)
    counted = status(folder.store, folder.config)
    assert (counted.downloads.pending_by_class, counted.violations) == ({"due again": 1}, [])
    assert "pending: due again" in " ".join(format_status(counted).split())
    assert download_batch(folder.job()).tried == 1
    state = download_states(folder.store)[ids(folder)["a.mp4"]]
    assert (state.state, state.error_class, state.attempts) == ("failed", "invalid_media", 2)
    assert "retried: due again by `lampworks retry`" in format_why(why(folder.store, folder.config, "a.mp4"))
    folder.check()
    # and once more
    assert len(retry(folder).items) == 1
    assert folder.collect() == 1


def test_only_what_is_named_is_due_again(folder: Folder) -> None:
    broken(folder, "a.mp4")
    broken(folder, "b.mp4")
    folder.write(1, 4, "c.mp4")
    folder.collect()
    made = retry(folder, "b.mp4", "c.mp4")
    assert [item.id for item in made.items] == [ids(folder)["b.mp4"]]
    assert (made.not_failed, made.left) == ([ids(folder)["c.mp4"]], 1)
    assert download_batch(folder.job()).tried == 1


@pytest.mark.slow
def test_an_unknown_class_or_id_is_refused_with_what_there_is(folder: Folder) -> None:
    folder.write(1, 4, "c.mp4")
    folder.collect()
    with pytest.raises(UserError, match=r"--class nonsense: no failed item of .* has it; nothing has failed"):
        retry(folder, classes=["nonsense"])
    assert retry(folder).items == []
    broken(folder, "a.mp4")
    folder.search()
    for batch in ("2026w47-0001", "2026w47-0002"):
        download_batch(dataclasses.replace(Job(folder.store, folder.config, home_of(folder.store)).of_batch(batch)))
    with pytest.raises(UserError, match="these classes have: 1 invalid_media"):
        retry(folder, classes=["nonsense", "invalid_media"])
    with pytest.raises(UserError, match="nothing is known of 'nobody'"):
        retry(folder, "nobody")
    assert retry(folder, classes=["invalid_media"]).counts == {"downloads": {"invalid_media": 1}}


@pytest.mark.slow
def test_a_download_that_waits_is_tried_at_once_where_it_is_named(folder: Folder) -> None:
    path = folder.folder / "a.mp4"
    path.write_bytes(folder.write(1, 4, "whole.mp4").read_bytes()[:2000])
    (folder.folder / "whole.mp4").unlink()
    folder.search()
    now = datetime.now(UTC)
    assert download_batch(folder.job(), now=now).pending == 1
    assert download_batch(folder.job(), now=now).tried == 0
    assert retry(folder).items == []
    assert retry(folder, classes=["unfinished"]).counts == {"downloads": {"unfinished": 1}}
    assert download_batch(folder.job(), now=now).tried == 1


@pytest.mark.parametrize("damage", [pytest.param("gone", marks=pytest.mark.slow), "flipped"])
def test_a_cut_whose_raw_file_is_damaged_is_downloaded_and_cut_again(folder: Folder, damage: str) -> None:
    folder.write(1, 4)
    folder.search()
    download_batch(folder.job())
    raw = Path(folder.store.url(str(folder.state().path)))
    if damage == "gone":
        raw.unlink()
    else:
        content = bytearray(raw.read_bytes())
        content[-1] ^= 255
        raw.write_bytes(bytes(content))
    cut_batch(folder.job())
    [item] = failed_items(folder.store, folder.config, searches.NOW)
    assert (item.kind, item.error_class) == ("cuts", {"gone": "raw_missing", "flipped": "raw_damaged"}[damage])
    assert retry(folder).counts == {"cuts": {item.error_class: 1}}
    assert folder.collect() == 1
    assert len(folder.clips()) == 2


@pytest.mark.slow
def test_a_cut_that_failed_by_itself_is_made_again_from_the_same_file(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.clips import cut_video

    def fails(*args: object, **how: object) -> object:
        raise ValueError("odd")

    folder.write(1, 4)
    with monkeypatch.context() as patch:
        patch.setattr(cut_video, "encode_clip", fails)
        folder.collect()
    assert folder.collect() == 0
    assert folder.clips() == {}
    made = retry(folder, "level.mp4")
    assert list(made.counts) == ["cuts"]
    assert folder.collect() == 0
    assert len(folder.clips()) == 2


@pytest.mark.parametrize("table", ["scores", "embeddings"])
def test_a_row_of_a_clip_that_failed_is_taken_away_and_the_others_stay(folder: Folder, table: str) -> None:
    folder.write(1, 4)
    folder.collect()
    spec = clip_spec(folder.config.clips)
    rows = folder.store.read("clips", ["clip_id", "video_id", "batch"]).to_pylist()
    found: list[dict[str, Any]] = [{**row, "clip_spec": spec} for row in rows]
    found[1] |= {"error_class": "unreadable_frames", "message": "damaged"}
    folder.store.append(table, found)
    assert [item.id for item in failed_items(folder.store, folder.config, searches.NOW)] == [rows[1]["clip_id"]]
    told = format_why(why(folder.store, folder.config, rows[1]["clip_id"]))
    assert re.search(rf"{table[:-1]} +no.*\(damaged\)", told)
    made = retry(folder, rows[1]["clip_id"])
    assert made.counts == {table: {"unreadable_frames": 1}}
    assert [row["clip_id"] for row in folder.store.read(table).to_pylist()] == [rows[0]["clip_id"]]


def test_a_page_that_could_not_be_read_is_asked_for_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    source = searches.FakeSource()
    monkeypatch.setattr("pipeline.search.search.open_source", lambda *given: source)
    source.world = [searches.candidate("a", error_class="permanent", message="gone"), searches.candidate("b")]
    job = Job(store, searches.config(), home_of(store))
    search_videos(job, now=searches.NOW)
    search_videos(job, now=searches.NOW)
    assert source.pages == []
    made = retry_failed(job)
    assert made.counts == {"pages": {"permanent": 1}}
    source.world = [searches.candidate("a"), searches.candidate("b")]
    search_videos(job, now=searches.NOW)
    assert source.pages == ["a"]
    assert {row["verdict"] for row in store.read("videos").to_pylist()} == {"kept"}


@pytest.mark.slow
def test_what_was_taken_down_is_not_due_again(folder: Folder) -> None:
    from pipeline.storage.takedown import request_takedown

    broken(folder, "a.mp4")
    folder.collect()
    request_takedown(folder.store, "video", ids(folder)["a.mp4"], "asked")
    assert retry(folder).items == []


@pytest.mark.slow
def test_cuts_under_another_clip_format_are_left(folder: Folder) -> None:
    folder.write(1, 4)
    folder.search()
    download_batch(folder.job())
    Path(folder.store.url(str(folder.state().path))).unlink()
    cut_batch(folder.job())
    other = dataclasses.replace(folder.config, clips=ClipConfig(seconds=3, fps=10))
    assert failed_items(folder.store, other, searches.NOW + timedelta(days=1)) == []
