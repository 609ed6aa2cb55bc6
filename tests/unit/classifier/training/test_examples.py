"""Frames as the network sees them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from classifier.pool import load_pool
from classifier.training import frames
from classifier.training.examples import feature_names, features_of, features_of_table, load_examples
from classifier.training.frames import clip_frames
from pipeline.clips.encode import encode_frames
from pipeline.clips.stored import decode_frames, decode_planes
from pipeline.config import ClassifierConfig
from pipeline.shards.splits import split_of
from pipeline.storage.rows import rows_table


def test_frames_are_chosen_evenly_and_averaged_down():
    config = ClassifierConfig(input_height=45, frames_per_clip=4)
    frames = np.zeros((8, 3, 90, 160), np.uint8)
    frames[:] = (np.arange(8) * 10)[:, None, None, None]
    frames[:, :, ::2] += 4
    small = clip_frames(frames, config)
    assert small.shape == (4, 3, 45, 80)
    assert [int(picture.unique()) for picture in small] == [12, 32, 52, 72]
    assert clip_frames(frames, replace(config, input_height=90, frames_per_clip=8)).shape == (8, 3, 90, 160)


@pytest.mark.parametrize("height", [5, 30, 45])
def test_averages_are_those_of_whole_blocks_of_stored_pictures(height):
    frames = np.random.default_rng(0).integers(0, 256, (8, 90, 163, 3), dtype=np.uint8)
    planes = decode_planes(encode_frames(frames))
    assert (planes.transpose(0, 2, 3, 1) == decode_frames(encode_frames(frames))).all()
    factor = 90 // height
    blocks = planes[..., : 163 // factor * factor].reshape(8, 3, height, factor, 163 // factor, factor)
    small = clip_frames(planes, ClassifierConfig(input_height=height))
    assert (small.numpy() == np.rint(blocks.mean((3, 5)))).all()


def test_labels_of_val_and_test_sources_are_held_out(store, config, pool_writer):
    config = replace(config, split=replace(config.split, val_share=0.3, test_share=0.3))
    clips = {f"video-{number:02d}": pool_writer.add(f"video-{number:02d}", "g") for number in range(12)}
    ratings = {clip_id: 5 for found in clips.values() for clip_id in found}
    examples = load_examples(load_pool(store, config), ratings, config.classifier, frozenset())
    held_out = dict(zip(examples.groups, examples.val_N.tolist(), strict=True))
    splits = {name: split_of(name, config.split) for name in held_out}
    assert set(splits.values()) == {"train", "val", "test"}
    assert held_out == {name: split != "train" for name, split in splits.items()}


def test_frames_beyond_what_fits_in_memory_lie_in_a_file_and_are_the_same(store, config, pool_writer, monkeypatch):
    ratings = dict.fromkeys(pool_writer.add("one", "gbg"), 5)
    pool = load_pool(store, config)
    needs = frozenset({"frames"})
    before = load_examples(pool, ratings, config.classifier, needs).frames.all_MKCHW
    monkeypatch.setattr(frames, "MOST_IN_MEMORY", 0)
    monkeypatch.setattr(frames, "CHUNK", 2)
    after = load_examples(pool, ratings, config.classifier, needs).frames
    assert torch.equal(before, after.all_MKCHW)
    assert torch.equal(after.take(np.array([2, 0])).read(np.array([1])), before[:1])


def test_no_picture_is_read_where_no_candidate_needs_one(store, config, pool_writer, damage_frames):
    ratings = dict.fromkeys(pool_writer.add("one", "gbg"), 5)
    damaged = damage_frames(store)["clip_id"]
    pool = load_pool(store, config)
    without = load_examples(pool, ratings, config.classifier, frozenset({"features"}))
    assert (len(without), without.frames, without.unreadable) == (3, None, {})
    seen = load_examples(pool, ratings, config.classifier, frozenset({"frames"}))
    assert (len(seen), list(seen.unreadable)) == (2, [damaged])


def test_sources_that_hold_copies_of_each_other_are_one_group(store, config, pool_writer):
    clips = {name: pool_writer.add(name, "g")[0] for name in ("a", "b", "c", "d")}
    rows = [("a", "a"), ("b", "a"), ("c", "b"), ("d", "d")]
    store.replace("duplicates", [
        {"clip_id": clips[name], "batch": "2026w47-0001", "representative": clips[of], "is_representative": name == of,
         "group_size": 1 if name == "d" else 3}
        for name, of in rows
    ])  # fmt: skip
    examples = load_examples(load_pool(store, config), dict.fromkeys(clips.values(), 5), config.classifier, frozenset())
    assert examples.groups[0].startswith("copies:"), "no source is named by the clips of another"
    assert examples.groups == (*[examples.groups[0]] * 3, "video:d")


def test_rows_of_versions_with_fewer_measurements_have_none_for_the_rest(store, config, pool_writer):
    [clip] = pool_writer.add("one", "g")
    store.replace("clips", [{**row, "features": row["features"][:5]} for row in store.read("clips").to_pylist()])
    found = load_examples(load_pool(store, config), {clip: 5}, config.classifier, frozenset()).features_NF
    assert found.shape == (1, len(feature_names()))
    assert np.isfinite(found).sum() == 6  # five and motion


def test_measurements_by_column_are_those_of_the_rows(pool_writer, job):
    pool_writer.add("level-1", "gb")
    table = job.store.read("clips")
    assert (features_of_table(table) == features_of(table.to_pylist())).all()
    rows = table.to_pylist()
    rows[0]["features"] = rows[0]["features"][:3]
    rows[1]["features"] = [None, *rows[1]["features"][1:]]
    for some in (rows, rows[:1], rows[1:]):
        table = rows_table("clips", some)
        assert np.array_equal(features_of_table(table), features_of(table.to_pylist()), equal_nan=True)
        assert np.isnan(features_of_table(table)).any()
