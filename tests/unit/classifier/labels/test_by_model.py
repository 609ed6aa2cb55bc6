"""The stream `uncovered`: clips that look like what the world could only guess, and badly predicted ones, in turns."""

import pytest

from classifier.labels.by_model import clips_near_situations, uncovered_clips
from pipeline.model_ids import EVALUATION
from pipeline.storage.models_table import ModelRecord, append_model
from pipeline.storage.store import Store
from pipeline.uncovered import NearClips, Situation, record_situations

A, B, C = (f"v{name}-000000000-0123abcd" for name in "abc")


def situation(number, world):
    return Situation(
        world=world, start="held_out:0", clip_id=None, link=f"#actions={number}", t=number, score=0.9, entropy=1.0,
        residual=2.0, disagreement=0.1, expected_psnr=18.0, pictures=(b"png",),
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "root")
    for number, (world, clip_ids) in enumerate([("new", [A, B]), ("new", [B]), ("old", [C])]):
        record_situations(store, [situation(number, world)], lambda some, clip_ids=clip_ids: [NearClips(clip_ids)])
    return store


def test_clips_of_most_situations_of_the_newest_evaluated_world_come_first(store):
    assert clips_near_situations(store) == []
    inputs = {"world_model": "new"}
    append_model(store, ModelRecord(model_id="e", kind=EVALUATION, path="e", config={}, metrics={}, inputs=inputs))
    assert clips_near_situations(store) == [B, A]


def test_both_kinds_take_turns_each_clip_once_and_none_that_is_left_out():
    psnr = {A: 30.0, B: 10.0, C: 20.0}
    assert uncovered_clips(psnr, [A, B], [], 3) == [A, B, C]
    assert uncovered_clips(psnr, [], [], 2) == [B, C]
    assert uncovered_clips({}, [A, B], [A], 2) == [B]
