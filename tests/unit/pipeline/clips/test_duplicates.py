"""Near-duplicates: what is grouped, what is kept apart, who represents whom, and that nothing is done twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clip_spec import clip_spec
from pipeline.clips.duplicates import components, duplicates_are_current, find_duplicates
from pipeline.clips.hashes import hash_frames
from pipeline.config import Config, DuplicateConfig
from pipeline.ids import clip_id_of, split_clip_id
from pipeline.job import Job
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown

CONFIG = Config()
SPEC = clip_spec(CONFIG.clips)


def pictures(seed: int, *, noise: float = 0.0) -> np.ndarray:
    """Return the luma (8, 90, 160) of eight sampled frames; `noise` is what a second encode does to it."""
    rng = np.random.default_rng(seed)
    luma = np.kron(rng.integers(20, 230, (8, 10, 16)), np.ones((1, 9, 10)))
    return np.clip(luma + noise * np.random.default_rng(99).standard_normal(luma.shape), 0, 255).astype(np.uint8)


def hashes(luma: np.ndarray) -> bytes:
    return hash_frames(luma) + hash_frames(luma[:, :, ::-1])


def flipped(code: bytes, bits: int, seed: int) -> bytes:
    """Return hashes with that many of the first eight's bits turned (and so seen from both sides)."""
    data = np.unpackbits(np.frombuffer(code, np.uint8))
    places = np.random.default_rng(seed).permutation(512)[:bits]
    data[places] ^= 1
    return np.packbits(data).tobytes()


def fill(store: Store, clips: Mapping[str, bytes], *, batch: str = "2026w47-0001", sha256: str | None = None) -> None:
    """Put clips in the store as the clip stage does: name -> hashes, one video each."""
    store.append("videos", [{"video_id": name, "batch": batch, "channel_id": None} for name in clips])
    shared = {"batch": batch, "clip_spec": SPEC, "source_sha256": "0"}
    rows = [
        shared | {"clip_id": clip_id_of(name, 0, SPEC), "video_id": name, "hashes": code, "sha256": sha256 or name}
        for name, code in clips.items()
    ]
    store.append("clips", rows)
    store.append("clippings", [shared | {"video_id": name, "state": "ok", "num_clips": 1} for name in clips])


def groups(store: Store) -> dict[str, str]:
    """Return video -> video of its representative."""
    rows = store.read("duplicates").to_pylist()
    return {split_clip_id(row["clip_id"])[0]: split_clip_id(row["representative"])[0] for row in rows}


def test_a_second_encode_is_grouped_under_the_earlier_clip(store: Store) -> None:
    fill(store, {"v-a": hashes(pictures(1)), "v-b": hashes(pictures(2)), "v-c": hashes(pictures(1, noise=4))})
    report = find_duplicates(Job(store, CONFIG, home_of(store)))
    assert groups(store) == {"v-a": "v-a", "v-b": "v-b", "v-c": "v-a"}
    assert (report.clips, report.groups, report.copies, report.largest) == (3, 1, 1, 2)


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_mirrored_copy_is_grouped_if_asked(store: Store, mirrored: bool) -> None:
    fill(store, {"v-a": hashes(pictures(1)), "v-m": hashes(pictures(1, noise=3)[:, :, ::-1])})
    find_duplicates(Job(store, Config(duplicates=DuplicateConfig(mirrored=mirrored)), home_of(store)))
    assert (groups(store)["v-m"] == "v-a") == mirrored


def test_unrelated_clips_stay_apart(store: Store) -> None:
    fill(store, {f"v-{seed:04d}": hashes(pictures(seed)) for seed in range(400)})
    assert find_duplicates(Job(store, CONFIG, home_of(store))).copies == 0


def test_a_flat_sky_and_floor_do_not_make_clips_alike(store: Store) -> None:
    plain = {}
    for seed in range(40):
        luma = np.full((8, 90, 160), 180, np.uint8)
        luma[:, 60:] = 90
        rng = np.random.default_rng(seed)
        for _ in range(3):
            x, y = int(rng.integers(0, 130)), int(rng.integers(0, 50))
            luma[:, y : y + 22, x : x + 26] = rng.integers(20, 160)
        plain[f"v-{seed:02d}"] = hashes(luma)
    fill(store, plain)
    assert find_duplicates(Job(store, CONFIG, home_of(store))).copies <= 1


def test_clips_without_texture_match_equal_bytes_only(store: Store) -> None:
    black = bytes(128)
    fill(store, {"v-a": black, "v-b": black}, sha256="same bytes")
    fill(store, {"v-c": black})
    find_duplicates(Job(store, CONFIG, home_of(store)))
    assert groups(store) == {"v-a": "v-a", "v-b": "v-a", "v-c": "v-c"}


def test_a_chain_of_small_changes_is_not_one_group(store: Store) -> None:
    code = hashes(pictures(1))
    chain = {"v-0": code}
    for link in range(1, 8):
        code = flipped(code, 60, seed=link)
        chain[f"v-{link}"] = code
    fill(store, chain)
    report = find_duplicates(Job(store, CONFIG, home_of(store)))
    assert report.max_distance <= CONFIG.duplicates.max_distance
    assert 2 <= len(set(groups(store).values())) < 8
    assert groups(store)["v-1"] == "v-0"
    assert groups(store)["v-7"] != "v-0"


def test_idle_minutes_are_one_group(store: Store) -> None:
    idle = hashes(pictures(1))
    fill(store, {f"v-{i:03d}": flipped(idle, 4, seed=i) for i in range(120)})
    report = find_duplicates(Job(store, CONFIG, home_of(store)))
    assert (report.groups, report.largest) == (1, 120)


@pytest.mark.heavy
def test_copies_are_found_among_many(store: Store) -> None:
    originals = {f"v-{seed:04d}": hashes(pictures(seed)) for seed in range(700)}
    copies = {f"w-{seed:04d}": flipped(originals[f"v-{seed:04d}"], 24, seed) for seed in range(0, 700, 7)}
    fill(store, originals | copies)
    find_duplicates(Job(store, CONFIG, home_of(store)))
    found = groups(store)
    assert sum(found[name] == f"v-{name[2:]}" for name in copies) >= 0.98 * len(copies)
    assert all(found[name] == name for name in originals)


def test_the_order_of_batches_changes_nothing(tmp_path: Path) -> None:
    first = {"v-a": hashes(pictures(1)), "v-b": hashes(pictures(2))}
    second = {"v-0": hashes(pictures(1, noise=4)), "v-1": hashes(pictures(3))}
    results = []
    for name, order in (("x", (0, 1)), ("y", (1, 0))):
        store = Store(tmp_path / name)
        for index in order:
            fill(store, (first, second)[index], batch=f"2026w47-000{index + 1}")
        find_duplicates(Job(store, CONFIG, home_of(store)))
        results.append(store.read("duplicates").sort_by("clip_id").to_pylist())
        assert groups(store)["v-0"] == "v-a"
    assert results[0] == results[1]


def test_every_clip_has_one_row_and_a_second_run_writes_nothing(store: Store) -> None:
    fill(store, {f"v-{seed}": hashes(pictures(seed % 3)) for seed in range(9)})
    assert not duplicates_are_current(store, CONFIG)
    report = find_duplicates(Job(store, CONFIG, home_of(store)))
    version = store.version("duplicates")
    assert duplicates_are_current(store, CONFIG)
    again = find_duplicates(Job(store, CONFIG, home_of(store)))
    assert (again.written, again.clips, again.copies) == (False, report.clips, report.copies)
    assert store.version("duplicates") == version
    rows = store.read("duplicates")
    assert sorted(rows["clip_id"].to_pylist()) == sorted(store.read("clips")["clip_id"].to_pylist())
    assert set(rows["representative"].to_pylist()) <= set(rows.filter(rows["is_representative"])["clip_id"].to_pylist())


def test_new_clips_and_new_settings_make_it_due_again(store: Store) -> None:
    fill(store, {"v-a": hashes(pictures(1))})
    find_duplicates(Job(store, CONFIG, home_of(store)))
    assert not duplicates_are_current(store, Config(duplicates=DuplicateConfig(max_distance=4)))
    fill(store, {"v-b": hashes(pictures(2))}, batch="2026w47-0002")
    assert not duplicates_are_current(store, CONFIG)


def test_what_was_taken_down_represents_nothing(store: Store) -> None:
    fill(store, {"v-a": hashes(pictures(1)), "v-b": hashes(pictures(1))})
    find_duplicates(Job(store, CONFIG, home_of(store)))
    request_takedown(store, "video", "v-a", "asked by the owner")
    find_duplicates(Job(store, CONFIG, home_of(store)))
    assert groups(store) == {"v-b": "v-b"}


def test_no_clips_make_an_empty_table_once(store: Store) -> None:
    assert find_duplicates(Job(store, CONFIG, home_of(store))).clips == 0
    assert not find_duplicates(Job(store, CONFIG, home_of(store))).written


@given(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_components_are_those_of_a_plain_search(pairs: list[tuple[int, int]]) -> None:
    truth = list(range(30))
    for _ in range(30):
        for a, b in pairs:
            truth[a] = truth[b] = min(truth[a], truth[b])
    first, second = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    assert components(30, first, second).tolist() == truth


def test_rows_fit_the_schema(store: Store) -> None:
    fill(store, {"v-a": hashes(pictures(1))})
    find_duplicates(Job(store, CONFIG, home_of(store)))
    assert isinstance(store.read("duplicates"), pa.Table)
    assert store.read("duplicates")["batch"].to_pylist() == ["2026w47-0001"]
