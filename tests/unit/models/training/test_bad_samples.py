"""A sample that cannot be used is skipped, counted and named, the same ones by every run; too many are refused."""

import dataclasses
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from models.evaluation.held_out import held_out_clips, training_frames
from models.training.checkpoint import Checkpoints
from models.training.data import Clip, ClipWindows
from models.training.train import train_tokenizer, train_world_model
from pipeline.config.training import TrainingConfig
from pipeline.errors import PermanentError, UserError
from pipeline.shards.loader.clips import shard_clips
from pipeline.shards.sample import restore_advice
from pipeline.storage.models_table import newest_model
from pipeline.storage.store import Store
from tests.media import video_bytes
from tests.shards import add_shards
from tests.synthetic import job_of
from tests.trainings import CONFIG, add_training_shards, clip_id, killed_after, mp4, weights

TOLERANT = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, max_bad_share=0.3))
TAR = "shards/v1/train/clips-000000.tar"


def members(store, key=TAR):
    with tarfile.open(store.url(key)) as tar:
        return {member.name: member for member in tar}


def overwrite(store, offset, data, key=TAR):
    whole = bytearray(store.read_blob(key))
    whole[offset : offset + len(data)] = data
    store.write_blob(key, bytes(whole))


def no_video(store):
    member = members(store)[f"{clip_id(1)}.mp4"]
    overwrite(store, member.offset_data, b"\0" * member.size)


def header_alone(store):
    member = members(store)[f"{clip_id(1)}.mp4"]
    overwrite(store, member.offset_data + 64, b"\xff" * (member.size - 64))


def no_json(store):
    overwrite(store, members(store)[f"{clip_id(1)}.json"].offset_data, b"[[")


def cut_in_the_last_sample(store):
    """A tar of which the end is missing, as after a full disk: clip 3 is the last."""
    member = members(store)[f"{clip_id(3)}.mp4"]
    store.write_blob(TAR, store.read_blob(TAR)[: member.offset_data + member.size // 2])


def cut_before_the_last_sample(store):
    store.write_blob(TAR, store.read_blob(TAR)[: members(store)[f"{clip_id(3)}.json"].offset])


def no_header_of_the_last_sample(store):
    overwrite(store, members(store)[f"{clip_id(3)}.json"].offset, b"\x41" * 512)


DAMAGES = {
    no_video: (clip_id(1), "bytes cannot be decoded"),
    header_alone: (clip_id(1), "bytes cannot be decoded"),
    no_json: (clip_id(1), "its JSON cannot be read"),
    cut_in_the_last_sample: (clip_id(3), "its tar ends inside it"),
    cut_before_the_last_sample: (f"{TAR}#3", "its tar ends before it"),
    no_header_of_the_last_sample: (f"{TAR}#3", "its tar ends before it"),
}


@pytest.fixture
def shards(store):
    return add_training_shards(store)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_sample_is_skipped_named_and_counted(shards, damage):
    damage(shards)
    said, (name, reason) = [], DAMAGES[damage]
    report = train_tokenizer(dataclasses.replace(job_of(shards, TOLERANT), on_progress=said.append))
    assert report.metrics["bad_samples"] == 1
    [(named, why)] = newest_model(shards, "video_tokenizer").inputs["bad_samples"].items()
    assert named == name
    assert reason in why
    assert [line for line in said if name in line] == [f"clip {name} is left out of the training: {why}"]
    run = newest_model(shards, "video_tokenizer").inputs["run"]
    found = Checkpoints(shards, f"models/video_tokenizer/runs/{run}/checkpoints").latest()
    assert found.about["bad_samples"] == {name: why}


def test_a_sample_of_another_size_is_skipped_wherever_it_stands(store):
    for place in range(4):
        wide = np.zeros((12, 16, 48, 3), np.uint8)
        clips = {clip_id(n): video_bytes(wide, fps=10) if n == place else mp4(n) for n in range(4)}
        root = Store(Path(store.root) / str(place))
        add_shards(root, {"train": clips, "val": {clip_id(5): mp4(5)}})
        for cache in (2, 4):
            with ClipWindows(shard_clips(root, "v1", "train"), cache_clips=cache) as windows:
                for step in range(6):
                    assert windows.batch(seed=0, step=step, batch=3, window=5)[0].shape == (3, 5, 16, 32, 3)
                [(name, reason)] = windows.bad.items()
                assert name == clip_id(place)
                assert "of 48x16, where the others have 32x16" in reason


def test_clips_of_several_lengths_are_used_and_those_without_a_window_are_passed_over_and_counted(store):
    clips = {clip_id(n): video_bytes(np.zeros((frames, 16, 32, 3), np.uint8), fps=10)
             for n, frames in enumerate((12, 30, 3, 8))}  # fmt: skip
    add_shards(store, {"train": clips, "val": {clip_id(5): mp4(5)}})
    with ClipWindows(shard_clips(store, "v1", "train"), cache_clips=4) as windows:
        batches = windows.batches(seed=0, batch=2, window=6)
        seen = {place for _ in range(40) for place in next(batches).places}
        assert {place.clip_id for place in seen} == {clip_id(0), clip_id(1), clip_id(3)}
        assert max(place.start for place in seen if place.clip_id == clip_id(1)) > 12
        assert batches.passed == {"clips": 4, "short": 1, "cut": 0}
        assert windows.bad == {}
        with pytest.raises(UserError, match=r"none of 4 clips holds a window of 50 frames: 4 are shorter, and 0 have"):
            next(windows.batches(seed=0, batch=2, window=50))


def test_a_training_that_was_killed_skips_the_same_samples_to_the_same_weights(shards, tmp_path):
    no_video(shards)
    shutil.copytree(shards.root, tmp_path / "other")
    other = Store(tmp_path / "other")
    for train, kind in ((train_tokenizer, "video_tokenizer"), (train_world_model, "world_model")):
        with pytest.raises(KeyboardInterrupt):
            train(job_of(other, TOLERANT), on_step=killed_after(3))
        said = []
        report = train(dataclasses.replace(job_of(other, TOLERANT), on_progress=said.append))
        train(job_of(shards, TOLERANT))
        assert weights(other, kind) == weights(shards, kind)
        assert report.metrics["bad_samples"] == 1
        assert any(line.startswith(f"clip {clip_id(1)} is left out") for line in said)


def broken(clip):
    def load():
        raise PermanentError("broken", error_class="bad_sample")

    return dataclasses.replace(clip, load=load)


def numbered(count):
    clips = [Clip(f"clip-{n}", lambda n=n: np.full((9, 2, 3, 3), n, np.uint8)) for n in range(count)]
    return clips


def test_another_clip_that_is_not_in_the_batch_takes_its_place():
    whole, damaged = numbered(8), [broken(clip) if index in (2, 3) else clip for index, clip in enumerate(numbered(8))]
    before, after = ([place.clip_id for place in batch_of(clips)] for clips in (whole, damaged))
    assert {"clip-2", "clip-3"} & set(before)
    assert len(set(after)) == 4
    assert not {"clip-2", "clip-3"} & set(after)


def batch_of(clips):
    return ClipWindows(clips, cache_clips=1).batch(seed=0, batch=4, window=5)[1]


def test_a_batch_repeats_a_clip_only_where_there_are_not_enough_others():
    clips = [broken(clip) if index else clip for index, clip in enumerate(numbered(3))]
    windows = ClipWindows(clips, cache_clips=1)
    assert {place.clip_id for place in windows.batch(seed=0, step=0, batch=3, window=5)[1]} == {"clip-0"}
    assert torch.equal(windows.spread(count=3, window=5), torch.zeros(3, 5, 2, 3, 3, dtype=torch.uint8))


def test_an_error_of_the_store_is_no_bad_sample():
    def unreachable():
        raise ConnectionError("the store does not answer")

    windows = ClipWindows([*numbered(2), Clip("far", unreachable)], cache_clips=1)
    with pytest.raises(ConnectionError):
        windows.batch(seed=0, batch=3, window=5)
    assert windows.bad == {}


def test_too_many_bad_samples_are_refused_and_the_setting_that_is_named_lets_them_be(shards):
    no_video(shards)
    cut_in_the_last_sample(shards)
    with pytest.raises(
        UserError, match=r"2 of 4 training clips cannot be used, more than training.max_bad_share = 0.3 \("
    ) as caught:
        train_tokenizer(job_of(shards, TOLERANT))
    assert restore_advice("v1") in str(caught.value)
    assert "raise training.max_bad_share" in str(caught.value)
    assert newest_model(shards, "video_tokenizer") is None, "nothing was published"
    half = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, max_bad_share=0.5))
    assert train_tokenizer(job_of(shards, half)).metrics["bad_samples"] == 2


def test_where_no_sample_can_be_used_no_setting_is_named(shards):
    shards.write_blob(TAR, b"")
    with pytest.raises(UserError, match="4 of 4 training clips cannot be used") as caught:
        train_tokenizer(job_of(shards, dataclasses.replace(TOLERANT, training=TrainingConfig(max_bad_share=1.0))))
    assert "raise training.max_bad_share" not in str(caught.value)


def test_a_held_out_sample_that_cannot_be_used_is_left_out_of_the_evaluation_with_a_warning(store, caplog):
    odd = video_bytes(np.zeros((12, 16, 48, 3), np.uint8), fps=10)
    val = {clip_id(4): b"no video", clip_id(5): mp4(5), clip_id(6): odd, clip_id(7): mp4(3)}
    add_shards(store, {"train": {clip_id(0): b"no video", clip_id(1): mp4(1)}, "val": val})
    assert [clip.clip_id for clip in held_out_clips(store, CONFIG, None)] == [clip_id(5), clip_id(7)]
    assert len(training_frames(store)) == 12
    named = [record.getMessage() for record in caplog.records]
    assert [next(n for n in (0, 4, 6) if clip_id(n) in line) for line in named] == [4, 6, 0]
