"""Frames as the network sees them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from classifier.pool import load_pool
from classifier.training.examples import load_examples
from classifier.training.frames import clip_frames
from pipeline.config import ClassifierConfig
from pipeline.shards.splits import split_of


def test_frames_are_chosen_evenly_and_averaged_down():
    config = ClassifierConfig(input_height=45, frames_per_clip=4)
    frames = np.zeros((8, 90, 160, 3), np.uint8)
    frames[:] = (np.arange(8) * 10)[:, None, None, None]
    frames[:, ::2] += 4
    small = clip_frames(frames, config)
    assert small.shape == (4, 3, 45, 80)
    assert [int(picture.unique()) for picture in small] == [12, 32, 52, 72]
    assert clip_frames(frames, replace(config, input_height=90, frames_per_clip=8)).shape == (8, 3, 90, 160)


def test_labels_of_val_and_test_sources_are_held_out(store, config, pool_writer):
    config = replace(config, split=replace(config.split, val_share=0.3, test_share=0.3))
    clips = {f"video-{number:02d}": pool_writer.add(f"video-{number:02d}", "g") for number in range(12)}
    ratings = {clip_id: 5 for found in clips.values() for clip_id in found}
    examples = load_examples(load_pool(store, config), ratings, config.classifier, frozenset())
    held_out = dict(zip(examples.groups, examples.val_N.tolist(), strict=True))
    splits = {name: split_of(name, config.split) for name in held_out}
    assert set(splits.values()) == {"train", "val", "test"}
    assert held_out == {name: split != "train" for name, split in splits.items()}
