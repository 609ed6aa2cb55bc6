"""The sensor asks for what is due, each batch once for the same work, a bounded number at a time, and cheaply."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assets.automation.sensors import LOOK_AGAIN, MOST_RUNS, Tick, tick
from assets.passes.due_batches import collect_due
from assets.settings import Settings, load_settings
from pipeline.clip_spec import MEASUREMENTS_VERSION, clip_spec
from pipeline.download.circuit_breaker import Refusal, closed, opened
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown

NOW = datetime(2026, 11, 20, 12, 20, tzinfo=UTC)


def settings_at(root: Path, spec: str = "urls:/nowhere/list.txt") -> Settings:
    return load_settings(str(root), source=spec)


def name_of(number: int) -> str:
    return f"2026w47-{number:04d}"


def put_videos(store: Store, batches: Mapping[str, list[str]], source: str = "urls", host: str = "a.example") -> None:
    """Add kept videos: batch -> ids."""
    rows = [
        {"video_id": video, "source": source, "url": f"https://{host}/{video}", "verdict": "kept", "batch": batch}
        for batch, videos in batches.items()
        for video in videos
    ]
    store.append("videos", rows)


def put_attempt(store: Store, video: str, batch: str, state: str, **columns: Any) -> None:
    known = store.read("downloads", ["video_id"])["video_id"].to_pylist().count(video)
    row = {"attempt_id": f"{video}-{known}", "video_id": video, "batch": batch, "attempt": known + 1, "state": state}
    store.append("downloads", [{**row, "finished_at": NOW - timedelta(hours=3) + timedelta(minutes=known), **columns}])


def put_ok(store: Store, video: str, batch: str) -> None:
    put_attempt(store, video, batch, "ok", sha256=f"hash-{video}", path=f"raw/{batch}/{video}.mp4")


def put_cut(settings: Settings, video: str, batch: str, version: int | None = MEASUREMENTS_VERSION) -> None:
    row = {"video_id": video, "batch": batch, "source_sha256": f"hash-{video}", "state": "ok"}
    named = {"clip_spec": clip_spec(settings.config.clips), "measurements_version": version}
    settings.store.append("clippings", [row | named])


def ask(settings: Settings, last: Tick | None = None, now: datetime = NOW, busy: Collection[str] = ()) -> Tick:
    return tick(settings, last.cursor if last else None, lambda: busy, now)


def due(settings: Settings, now: datetime = NOW) -> list[str]:
    return list(collect_due(settings.store, settings.config, now).batches)


class Closed(Store):
    """A store of which only the versions of tables may be asked."""

    def read(self, name: str, *arguments: Any, **options: Any) -> pa.Table:
        raise AssertionError(f"table {name} was read")

    def scan(self, name: str, *arguments: Any, **options: Any) -> Any:
        raise AssertionError(f"table {name} was read")


def shut(settings: Settings) -> Settings:
    return replace(settings, store=Closed(settings.store.root))


@pytest.fixture(params=[100_000, 1], ids=["all batches at once", "a batch at a time"])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large store is read in parts of so many videos."""
    monkeypatch.setattr("pipeline.download.ledger._PART_VIDEOS", request.param)


# -- what is due --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("parts")
def test_a_batch_is_due_while_a_video_of_it_is_to_be_fetched_or_cut(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    store = settings.store
    put_videos(store, {name_of(number): [f"v{number}"] for number in range(1, 8)})
    for number in (2, 3, 7):
        put_ok(store, f"v{number}", name_of(number))
    put_cut(settings, "v3", name_of(3))
    put_cut(settings, "v7", name_of(7))
    put_attempt(store, "v4", name_of(4), "failed", error_class="permanent")
    put_attempt(store, "v5", name_of(5), "pending", next_try_at=NOW - timedelta(minutes=1))
    put_attempt(store, "v6", name_of(6), "pending", next_try_at=NOW + timedelta(minutes=5))
    found = collect_due(store, settings.config, NOW)
    assert [*found.batches] == [name_of(1), name_of(2), name_of(5)], "new, uncut, and to be tried again"
    assert found.cuts == {name_of(2)}
    assert found.next_at == NOW + timedelta(minutes=5)
    assert due(settings, NOW + timedelta(minutes=5)) == [*map(name_of, (1, 2, 5, 6))]


@pytest.mark.usefixtures("parts")
def test_the_text_of_a_batch_changes_with_every_attempt_and_with_the_clip_format(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    put_videos(settings.store, {name_of(1): ["a", "b"]})
    texts = [collect_due(settings.store, settings.config, NOW).batches[name_of(1)]]
    put_attempt(settings.store, "a", name_of(1), "pending", next_try_at=NOW)
    texts.append(collect_due(settings.store, settings.config, NOW).batches[name_of(1)])
    other = replace(settings.config, clips=replace(settings.config.clips, aspect="crop"))
    texts.append(collect_due(settings.store, other, NOW).batches[name_of(1)])
    assert len(set(texts)) == 3


@pytest.mark.usefixtures("parts")
def test_videos_of_another_source_and_those_taken_down_are_not_due(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    put_videos(settings.store, {name_of(1): ["mine"]})
    put_videos(settings.store, {name_of(2): ["theirs"]}, source="youtube")
    put_videos(settings.store, {name_of(3): ["hidden"]})
    request_takedown(settings.store, "video", "hidden", "asked by its owner")
    assert due(settings) == [name_of(1)]
    assert due(settings_at(tmp_path, "youtube")) == [name_of(2)]


@pytest.mark.usefixtures("parts")
def test_a_batch_whose_site_rests_is_due_when_the_rest_is_over_and_others_are_now(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    store, config = settings.store, settings.config
    put_videos(store, {name_of(1): ["a"], name_of(2): ["b"]}, host="User:x@TIRED.example:8080")
    put_videos(store, {name_of(2): ["c"], name_of(3): ["d"]}, host="awake.example")
    rest = opened(None, Refusal("tired.example", "rate_limited", "HTTP 429", 600), config.download, NOW)
    store.append("breakers", [rest.row()])
    found = collect_due(store, config, NOW)
    assert [*found.batches] == [name_of(2), name_of(3)]
    assert found.next_at == rest.next_try_at
    assert rest.next_try_at is not None
    assert due(settings, rest.next_try_at) == [*map(name_of, (1, 2, 3))]
    store.append("breakers", [closed("tired.example", NOW + timedelta(minutes=1)).row()])
    assert due(settings, NOW + timedelta(minutes=1)) == [*map(name_of, (1, 2, 3))]


@pytest.mark.usefixtures("parts")
def test_clips_that_lack_measurements_are_due_while_their_file_is_kept(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    put_videos(settings.store, {name_of(1): ["kept"], name_of(2): ["dropped"]})
    for number, video in enumerate(("kept", "dropped"), 1):
        put_ok(settings.store, video, name_of(number))
        put_cut(settings, video, name_of(number), version=None)
    put_attempt(settings.store, "dropped", name_of(2), "dropped", finished_at=NOW - timedelta(hours=1))
    found = collect_due(settings.store, settings.config, NOW)
    assert [*found.batches] == [name_of(1)], "nothing is fetched again to be measured"
    assert found.cuts == {name_of(1)}


@pytest.mark.usefixtures("parts")
def test_a_dropped_file_is_not_to_be_cut_and_is_fetched_again_for_another_clip_format(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    put_videos(settings.store, {name_of(1): ["a"]})
    put_ok(settings.store, "a", name_of(1))
    put_cut(settings, "a", name_of(1))
    put_attempt(settings.store, "a", name_of(1), "dropped", finished_at=NOW - timedelta(hours=1))
    assert due(settings) == []
    other = replace(settings.config, clips=replace(settings.config.clips, aspect="crop"))
    found = collect_due(settings.store, other, NOW)
    assert [*found.batches] == [name_of(1)]
    assert found.cuts == frozenset()


# -- ticks --------------------------------------------------------------------------------------------------------


def test_an_idle_tick_reads_versions_alone_and_a_change_of_any_table_wakes_it(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    put_videos(settings.store, {name_of(1): ["a"]})
    put_ok(settings.store, "a", name_of(1))
    put_cut(settings, "a", name_of(1))
    first = ask(settings)
    assert first.requests == {}
    idle = ask(shut(settings), first)
    assert (idle.requests, idle.cursor) == ({}, first.cursor)
    put_videos(settings.store, {name_of(2): ["b"]})
    with pytest.raises(AssertionError, match="was read"):
        ask(shut(settings), first)
    assert [*ask(settings, first).requests] == [name_of(2)]


def test_a_retry_wakes_the_sensor_although_no_table_moved(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    put_videos(settings.store, {name_of(1): ["a"]})
    put_attempt(settings.store, "a", name_of(1), "pending", next_try_at=NOW + timedelta(minutes=15))
    first = ask(settings)
    assert first.requests == {}
    assert ask(shut(settings), first, NOW + timedelta(minutes=14)).requests == {}
    assert [*ask(settings, first, NOW + timedelta(minutes=15)).requests] == [name_of(1)]


def test_another_clip_format_wakes_the_sensor(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    put_videos(settings.store, {name_of(1): ["a"]})
    put_ok(settings.store, "a", name_of(1))
    put_cut(settings, "a", name_of(1))
    first = ask(settings)
    other = replace(settings.config, clips=replace(settings.config.clips, aspect="crop"))
    assert [*ask(replace(settings, config=other), first).requests] == [name_of(1)]


def test_what_does_not_fit_into_a_tick_has_its_turn_in_the_next_ones_and_nothing_is_lost(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    names = [name_of(number) for number in range(1, 2 * MOST_RUNS + 51)]
    put_videos(settings.store, {name: [f"v-{name}"] for name in names})
    first = ask(settings)
    assert [*first.requests] == names[:MOST_RUNS]
    working = set(names[10:20])
    # the first run to end leaves its batch due again, which nobody could know when the round began
    put_attempt(settings.store, f"v-{names[0]}", names[0], "pending", next_try_at=NOW)
    second = ask(settings, first, busy=working)
    assert [*second.requests] == names[MOST_RUNS : 2 * MOST_RUNS - len(working)], (
        "no more than fit beside those at work"
    )
    put_attempt(settings.store, f"v-{names[1]}", names[1], "pending", next_try_at=NOW)
    third = ask(settings, second)
    assert [*third.requests] == names[2 * MOST_RUNS - len(working) :]
    assert list(first.requests) + list(second.requests) + list(third.requests) == names
    again = ask(settings, third)
    assert names[0] in again.requests
    assert again.requests[names[0]] != first.requests[names[0]]


def test_the_same_work_has_the_same_key_which_dagster_runs_once(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    put_videos(settings.store, {name_of(1): ["a"], name_of(2): ["b"]})
    first = ask(settings)
    put_attempt(settings.store, "b", name_of(2), "pending", next_try_at=NOW)
    again = ask(settings, first)
    assert again.requests[name_of(1)] == first.requests[name_of(1)]
    assert again.requests[name_of(2)] != first.requests[name_of(2)]


def test_where_downloads_bring_no_attempt_one_batch_a_tick_finds_out_and_cuts_go_on(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    fetch, cut = [name_of(number) for number in range(1, 6)], [name_of(number) for number in range(6, 9)]
    put_videos(settings.store, {name: [f"v-{name}"] for name in (*fetch, *cut)})
    for name in cut:
        put_ok(settings.store, f"v-{name}", name)
    first = ask(settings)
    assert [*first.requests] == fetch + cut
    # an hour later all have run, and none could try anything
    asked, last, now = [], first, NOW + LOOK_AGAIN
    for _ in fetch:
        last = ask(settings, last, now)
        asked += [name for name in last.requests if name in fetch]
        assert [name for name in last.requests if name in cut] == cut
        now += timedelta(minutes=5)
    assert asked == fetch, "each has its turn"
    put_attempt(settings.store, f"v-{fetch[0]}", fetch[0], "pending", next_try_at=NOW)
    assert [*ask(settings, last, now).requests] == fetch + cut


def test_a_full_queue_is_left_alone_and_a_batch_that_a_run_has_is_not_asked_for(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    put_videos(settings.store, {name_of(1): ["a"], name_of(2): ["b"]})
    first = ask(settings)
    put_videos(settings.store, {name_of(3): ["c"]})
    crowd = [name_of(number) for number in range(100, 100 + MOST_RUNS)]
    full = ask(settings, first, busy=crowd)
    assert (full.requests, full.cursor) == ({}, first.cursor)
    assert [*ask(settings, first, busy={name_of(1), name_of(2)}).requests] == [name_of(3)]


def test_a_batch_that_a_run_could_not_bring_forward_is_asked_for_again_an_hour_later(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    put_videos(settings.store, {name_of(1): ["a"]})
    first = ask(settings)
    assert ask(shut(settings), first, NOW + timedelta(minutes=5)).requests == {}
    later = ask(settings, first, NOW + LOOK_AGAIN)
    assert [*later.requests] == [name_of(1)]
    assert set(later.requests.values()).isdisjoint(first.requests.values()), "the same key would be passed over"


@pytest.mark.parametrize("text", ["", "not JSON", "[]", '{"versions": 3}', '{"other": 1}', "null"])
def test_a_cursor_that_is_none_begins_anew(tmp_path: Path, text: str) -> None:
    settings = settings_at(tmp_path)
    put_videos(settings.store, {name_of(1): ["a"]})
    assert [*tick(settings, text, lambda: (), NOW).requests] == [name_of(1)]


# -- among as many batches as a real store has ----------------------------------------------------------------------

BATCHES, SIZE = 5000, 50
NEW, THEIRS = range(4800, 4950), range(4950, 5000)
RETRY, LATER, UNCUT, FAILED = 7, 11, 13, 17


def numbered(pattern: str, numbers: Any) -> pa.Array:
    return pa.array([pattern % number for number in numbers], pa.string())


def put_big_store(settings: Settings) -> None:
    """5,000 batches of 50 videos, 4,800 of them done but for one video each of four."""
    videos = np.arange(BATCHES * SIZE)
    ids = numbered("youtube-%011d", videos)
    batches = numbered("2026w47-%04d", range(BATCHES)).take(pa.array(videos // SIZE))
    theirs = pa.array(np.isin(videos // SIZE, THEIRS))
    sources = pa.compute.if_else(theirs, "folder", "youtube")
    kept = pa.repeat(pa.scalar("kept"), len(videos))
    settings.store.append("videos", pa.table({"video_id": ids, "source": sources, "verdict": kept, "batch": batches}))
    done = videos[videos // SIZE < NEW.start]
    states = np.full(len(done), "ok", object)
    times: list[datetime | None] = [None] * len(done)
    states[RETRY * SIZE], times[RETRY * SIZE] = "pending", NOW - timedelta(seconds=1)
    states[LATER * SIZE], times[LATER * SIZE] = "pending", NOW + timedelta(minutes=7)
    states[FAILED * SIZE] = "failed"
    hashes = numbered("%064x", done)
    columns = {
        "attempt_id": hashes, "video_id": ids.take(pa.array(done)), "batch": batches.take(pa.array(done)),
        "attempt": pa.repeat(pa.scalar(1), len(done)), "state": pa.array(states, pa.string()),
        "finished_at": pa.repeat(pa.scalar(NOW - timedelta(hours=9), pa.timestamp("us", "UTC")), len(done)),
        "next_try_at": pa.array(times, pa.timestamp("us", "UTC")), "sha256": hashes,
        "path": numbered("raw/%d.mp4", done),
    }  # fmt: skip
    settings.store.append("downloads", pa.table(columns))
    cut = pa.table({"video_id": columns["video_id"], "batch": columns["batch"], "source_sha256": hashes}).filter(
        pa.array((states == "ok") & (done != UNCUT * SIZE))
    )
    spec = clip_spec(settings.config.clips)
    for name, value in {"clip_spec": spec, "state": "ok", "measurements_version": MEASUREMENTS_VERSION}.items():
        cut = cut.append_column(name, pa.repeat(pa.scalar(value), len(cut)))
    settings.store.append("clippings", cut)


@pytest.mark.timeout(200)
@pytest.mark.slow
def test_among_five_thousand_batches_those_that_are_due_are_found(tmp_path: Path) -> None:
    settings = settings_at(tmp_path, "youtube")
    put_big_store(settings)
    expected = [f"2026w47-{number:04d}" for number in (RETRY, UNCUT, *NEW)]
    first = ask(settings)
    put_attempt(settings.store, f"youtube-{NEW.start * SIZE:011d}", f"2026w47-{NEW.start:04d}", "failed")
    second = ask(settings, first)
    assert [*first.requests, *second.requests] == expected
    assert len(first.requests) == MOST_RUNS
    put_attempt(settings.store, f"youtube-{NEW.start * SIZE + 1:011d}", f"2026w47-{NEW.start:04d}", "failed")
    third = ask(settings, second)
    assert third.requests[expected[2]] != first.requests[expected[2]]
    retried = ask(settings, second, NOW + timedelta(minutes=7))
    assert f"2026w47-{LATER:04d}" in retried.requests
