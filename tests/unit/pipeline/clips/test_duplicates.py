"""Copies among clips: what is grouped and what is kept apart, who represents whom, and that nothing is done twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.clip_spec import clip_spec
from pipeline.clips.duplicates import duplicates_are_current, find_duplicates
from pipeline.clips.hashes import look_of
from pipeline.config import Config, DuplicateConfig
from pipeline.ids import clip_id_of
from pipeline.job import Job
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from tests.plays import Luma, backdrop, fixed_camera, scrolling, second_encode, with_bars, with_logo

CONFIG = Config()
SPEC = clip_spec(CONFIG.clips)
CLIP = CONFIG.clips.num_frames


def fill(store: Store, videos: Mapping[str, Luma], *, batch: str = "2026w47-0001", sha256: str | None = None) -> None:
    """Put videos in the store as the clip stage does."""
    store.append("videos", [{"video_id": name, "batch": batch, "channel_id": None} for name in videos])
    shared = {"batch": batch, "clip_spec": SPEC, "source_sha256": "0"}
    rows = []
    for name, film in videos.items():
        for start in range(0, len(film) - CLIP + 1, CLIP):
            clip_id = clip_id_of(name, start * 100, SPEC)
            look = look_of(film[start : start + CLIP], CONFIG.clips.fps)
            row = {"clip_id": clip_id, "video_id": name, "start_ms": start * 100, "sha256": sha256 or clip_id}
            rows.append(shared | row | vars(look))
    store.append("clips", rows)
    store.append("clippings", [shared | {"video_id": name, "state": "ok", "num_clips": 1} for name in videos])


def find(store: Store, config: Config = CONFIG) -> dict[str, dict[str, Any]]:
    """Search for copies; return the rows by clip, as `v-a 16` for the clip that starts at 16 s."""
    find_duplicates(Job(store, config, home_of(store)))
    rows = {}
    for row in store.read("duplicates").to_pylist():
        for name in ("clip_id", "representative", "similar_to"):
            row[name] = row[name] and short(row[name])
        rows[row["clip_id"]] = row
    return rows


def short(clip_id: str) -> str:
    video, start, _ = clip_id.rsplit("-", 2)
    return f"{video} {int(start) // 1000}"


def copies(store: Store, config: Config = CONFIG) -> dict[str, str]:
    """Return the representative of each copy."""
    rows = find(store, config)
    return {name: row["representative"] for name, row in rows.items() if not row["is_representative"]}


PLAYS = {"fixed camera": fixed_camera, "scrolling": scrolling}


@pytest.mark.parametrize("game", PLAYS)
def test_a_second_encode_is_a_copy_of_the_earlier_clip(store: Store, game: str) -> None:
    film, other = PLAYS[game](1, CLIP), PLAYS[game](2, CLIP)
    fill(store, {"v-a": film, "v-b": other, "v-c": second_encode(film), "v-d": second_encode(film, gain=1.15)})
    rows = find(store)
    assert {name: row["representative"] for name, row in rows.items()} == {
        "v-a 0": "v-a 0", "v-b 0": "v-b 0", "v-c 0": "v-a 0", "v-d 0": "v-a 0",
    }  # fmt: skip
    assert {name: (row["verified"], row["mirrored"], row["shift_ms"]) for name, row in rows.items()} == {
        "v-a 0": (None, None, None),
        "v-b 0": (False, None, None) if game == "fixed camera" else (None, None, None),
        "v-c 0": (True, False, 0),
        "v-d 0": (True, False, 0),
    }
    assert rows["v-a 0"]["group_size"] == 3
    assert max(row["distance"] for row in rows.values()) <= 15


@pytest.mark.parametrize("change", [with_bars, with_logo, lambda film: film[:, 2:-2, 3:-3]])
def test_bars_a_logo_and_a_cropped_edge_do_not_hide_a_copy(store: Store, change: Any) -> None:
    film = fixed_camera(1, CLIP)
    fill(store, {"v-a": film, "v-b": change(second_encode(film))})
    assert copies(store) == {"v-b 0": "v-a 0"}


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_mirrored_copy_is_found_if_asked_and_said_to_be_one(store: Store, mirrored: bool) -> None:
    film = fixed_camera(1, 2 * CLIP)
    fill(store, {"v-a": film, "v-m": second_encode(film)[:, :, ::-1], "v-s": second_encode(film)[32:, :, ::-1]})
    rows = find(store, Config(duplicates=DuplicateConfig(mirrored=mirrored)))
    found = {name: (row["representative"], row["mirrored"], row["shift_ms"]) for name, row in rows.items()}
    assert found["v-m 16"] == (("v-a 16", True, 0) if mirrored else ("v-m 16", None, None))
    assert found["v-s 0"] == ("v-a 0" if mirrored else "v-m 0", mirrored, 3200)


@pytest.mark.parametrize("game", PLAYS)
def test_a_copy_that_begins_later_is_found_and_said_by_how_much(store: Store, game: str) -> None:
    film = PLAYS[game](1, 4 * CLIP)
    fill(store, {"v-a": film, "v-b": second_encode(film[32:]), "v-c": second_encode(film[110:], seed=1)})
    rows = find(store)
    found = {name: (row["representative"], row["shift_ms"]) for name, row in rows.items() if row["verified"]}
    # 11 s later is 5 s before the next clip, which has more of it
    assert found == {
        "v-b 0": ("v-a 0", 3200), "v-b 16": ("v-a 16", 3200), "v-b 32": ("v-a 32", 3200),
        "v-c 0": ("v-a 16", -5000), "v-c 16": ("v-a 32", -5000), "v-c 32": ("v-a 48", -5000),
    }  # fmt: skip


def test_plays_of_one_screen_are_no_copies_and_none_is_dropped(store: Store) -> None:
    fill(store, {f"v-{play}": fixed_camera(play, 3 * CLIP) for play in range(5)})
    rows = find(store)
    assert all(row["is_representative"] for row in rows.values())
    alike = {name: row["similar_to"] for name, row in rows.items() if name != "v-0 0"}
    assert set(alike.values()) == {"v-0 0"}, "each names the clip that it looks like"
    assert not any(rows[name]["verified"] for name in alike)


def test_unrelated_clips_stay_apart_and_look_like_nothing(store: Store) -> None:
    fill(store, {f"v-{seed:02d}": scrolling(seed, CLIP, level=seed) for seed in range(40)})
    rows = find(store)
    assert all(row["is_representative"] and row["similar_to"] is None for row in rows.values())


def test_two_plays_that_begin_with_the_same_intro_are_no_copies(store: Store) -> None:
    intro = scrolling(9, 90, level=9)
    late = np.concatenate([scrolling(8, 70, level=8), intro, scrolling(1, 2 * CLIP)])
    other = np.concatenate([intro, scrolling(2, 2 * CLIP)])
    fill(store, {"v-a": late, "v-b": other, "v-c": second_encode(late[70:])})
    # the first 9 s of v-b are the last 9 s of the first clip of v-a, but then v-b goes on differently
    assert copies(store) == {"v-c 0": "v-a 0", "v-c 16": "v-a 16"}


def test_a_screen_that_flashes_at_the_same_times_proves_nothing_where_the_play_differs(store: Store) -> None:
    films = [fixed_camera(play, CLIP, scenery=False) for play in (1, 2)]
    for film in films:
        for moment in (20, 70, 120):
            film[moment : moment + 3] = 235
    fill(store, {"v-a": films[0], "v-b": films[1], "v-c": second_encode(films[0])})
    assert copies(store) == {"v-c 0": "v-a 0"}


def still(level: int, frames: int = CLIP) -> Luma:
    return np.repeat(backdrop(level)[None], frames, axis=0)


def test_still_pictures_are_copies_only_where_their_bytes_are_equal(store: Store) -> None:
    fill(store, {"v-a": still(1), "v-b": still(1) + np.uint8(1)})
    fill(store, {"v-c": still(1), "v-d": still(1)}, sha256="same bytes")
    rows = find(store)
    assert {name: row["representative"] for name, row in rows.items() if row["verified"]} == {"v-d 0": "v-c 0"}
    assert rows["v-b 0"]["similar_to"] == rows["v-c 0"]["similar_to"] == "v-a 0"


def test_a_menu_between_two_copies_is_a_copy_and_one_in_another_video_is_not(store: Store) -> None:
    film = np.concatenate([fixed_camera(1, CLIP), still(3), fixed_camera(2, CLIP)])
    fill(store, {"v-a": film, "v-b": second_encode(film), "v-c": second_encode(still(3), seed=2)})
    assert copies(store) == {"v-b 0": "v-a 0", "v-b 16": "v-a 16", "v-b 32": "v-a 32"}


def test_a_menu_that_blinks_proves_nothing_however_long_it_does(store: Store) -> None:
    film = still(4, 4 * CLIP)
    for start in range(0, len(film), 10):
        film[start : start + 5, 40:50, 60:80] = 20
    fill(store, {"v-a": film, "v-b": second_encode(film), "v-c": second_encode(film[3:], seed=1)})
    assert copies(store) == {}


def test_little_motion_in_each_of_several_clips_proves_a_copy_together(store: Store) -> None:
    film = rarely_moving(seed=0)
    other = np.concatenate([film[: 3 * CLIP], rarely_moving(seed=1)[3 * CLIP :]])
    fill(store, {"v-a": film, "v-b": second_encode(film), "v-c": second_encode(other, seed=3)})
    # v-c ends differently, so that what came before does not count either
    assert copies(store) == {"v-b 0": "v-a 0", "v-b 16": "v-a 16", "v-b 32": "v-a 32", "v-b 48": "v-a 48"}


def rarely_moving(seed: int) -> Luma:
    """Return 64 s of one screen on which something flits by now and then."""
    film = still(5, 4 * CLIP)
    random = np.random.default_rng(seed)
    for start in range(30, len(film), 45):
        x, y = random.integers(0, 140), random.integers(0, 70)
        film[start : start + 7, y : y + 14, x : x + 14] = 20
    return film


def test_a_part_that_one_video_shows_twice_is_a_copy_of_its_first_showing(store: Store) -> None:
    part = scrolling(1, 2 * CLIP)
    fill(store, {"v-a": np.concatenate([part, scrolling(2, CLIP, level=1), part])})
    assert copies(store) == {"v-a 48": "v-a 0", "v-a 64": "v-a 16"}


def test_a_chain_of_shifts_is_not_one_group(store: Store) -> None:
    film = scrolling(1, 260)
    fill(store, {f"v-{step}": second_encode(film[step * 20 : step * 20 + CLIP], seed=step) for step in range(6)})
    rows = find(store)
    assert {name: row["representative"] for name, row in rows.items()} == {
        "v-0 0": "v-0 0", "v-1 0": "v-0 0", "v-2 0": "v-0 0", "v-3 0": "v-0 0", "v-4 0": "v-0 0", "v-5 0": "v-5 0",
    }  # fmt: skip


def test_many_copies_of_one_clip_are_one_group(store: Store) -> None:
    film = fixed_camera(1, CLIP)
    fill(store, {f"v-{copy:02d}": second_encode(film, seed=copy) for copy in range(8)})
    report = find_duplicates(Job(store, CONFIG, home_of(store)))
    assert (report.clips, report.groups, report.copies, report.largest) == (8, 1, 7, 8)


def test_the_report_counts_what_the_table_says(store: Store) -> None:
    film = fixed_camera(1, 2 * CLIP)
    fill(store, {"v-a": film, "v-b": film[20:, :, ::-1], "v-c": fixed_camera(2, CLIP)})
    first = find_duplicates(Job(store, CONFIG, home_of(store)))
    assert (first.copies, first.mirrored, first.shifted, first.look_alikes) == (1, 1, 1, 2)
    again = find_duplicates(Job(store, CONFIG, home_of(store)))
    assert (again.copies, again.mirrored, again.shifted, again.look_alikes) == (1, 1, 1, 2)
    assert (first.written, again.written) == (True, False)


def test_the_order_of_batches_changes_nothing(tmp_path: Path) -> None:
    films = {play: fixed_camera(play, CLIP) for play in (1, 2, 3)}
    first = {"v-a": films[1], "v-b": films[2]}
    second = {"v-0": second_encode(films[1])[:, :, ::-1], "v-1": films[3]}
    results = []
    for name, order in (("x", (0, 1)), ("y", (1, 0))):
        store = Store(tmp_path / name)
        for index in order:
            fill(store, (first, second)[index], batch=f"2026w47-000{index + 1}")
        assert copies(store) == {"v-0 0": "v-a 0"}
        results.append(store.read("duplicates").sort_by("clip_id").to_pylist())
    assert results[0] == results[1]


def test_every_clip_has_one_row_and_a_second_run_writes_nothing(store: Store) -> None:
    films = [fixed_camera(play, CLIP) for play in range(3)]
    fill(store, {f"v-{seed}": second_encode(films[seed % 3], seed=seed) for seed in range(9)})
    assert not duplicates_are_current(store, CONFIG)
    report = find_duplicates(Job(store, CONFIG, home_of(store)))
    version = store.version("duplicates")
    assert duplicates_are_current(store, CONFIG)
    again = find_duplicates(Job(store, CONFIG, home_of(store)))
    assert (again.written, again.clips, again.copies) == (False, report.clips, report.copies)
    assert store.version("duplicates") == version
    rows = store.read("duplicates")
    assert sorted(rows["clip_id"].to_pylist()) == sorted(store.read("clips")["clip_id"].to_pylist())
    assert set(rows["representative"].to_pylist()) == set(rows.filter(rows["is_representative"])["clip_id"].to_pylist())
    assert not list(home_of(store).tmp.iterdir()), "the scratch files are gone"


def test_new_clips_and_new_settings_make_it_due_again(store: Store) -> None:
    fill(store, {"v-a": fixed_camera(1, CLIP)})
    find_duplicates(Job(store, CONFIG, home_of(store)))
    assert not duplicates_are_current(store, Config(duplicates=DuplicateConfig(max_distance=4)))
    fill(store, {"v-b": fixed_camera(2, CLIP)}, batch="2026w47-0002")
    assert not duplicates_are_current(store, CONFIG)


def test_what_was_taken_down_represents_nothing(store: Store) -> None:
    fill(store, {"v-a": fixed_camera(1, CLIP), "v-b": fixed_camera(1, CLIP)})
    assert copies(store) == {"v-b 0": "v-a 0"}
    request_takedown(store, "video", "v-a", "asked by the owner")
    assert list(find(store)) == ["v-b 0"]
    assert copies(store) == {}


def test_no_clips_make_an_empty_table_once(store: Store) -> None:
    assert find_duplicates(Job(store, CONFIG, home_of(store))).clips == 0
    assert not find_duplicates(Job(store, CONFIG, home_of(store))).written


def test_a_clip_without_hashes_or_signature_stays_alone(store: Store) -> None:
    fill(store, {"v-a": fixed_camera(1, CLIP)})
    bare = {"batch": "2026w47-0001", "clip_spec": SPEC, "source_sha256": "0"}
    store.append("clips", [bare | {"clip_id": clip_id_of(f"v-{i}", 0, SPEC), "video_id": f"v-{i}"} for i in range(2)])
    store.append("clippings", [bare | {"video_id": f"v-{i}", "state": "ok", "num_clips": 1} for i in range(2)])
    assert copies(store) == {}
