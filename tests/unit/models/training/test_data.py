import io
import tarfile

import numpy as np
import pytest

from models.training.data import Clip, ClipWindows, check_window, training_clips
from pipeline.errors import UserError
from pipeline.shards.loader.clips import shard_clips
from tests.media import video_bytes
from tests.trainings import clip_id


def counted_clips(count=4, frames=20):
    """Clips whose pixels say which clip and frame they are; the list counts what was decoded."""
    decoded = []

    def load(index):
        decoded.append(index)
        video = np.zeros((frames, 2, 3, 3), np.uint8)
        video[..., 0], video[..., 1] = index, np.arange(frames)[:, None, None]
        return video

    return [Clip(f"clip-{index}", lambda index=index: load(index)) for index in range(count)], decoded


def test_windows_are_consecutive_frames_of_the_clips_they_name():
    windows = ClipWindows(counted_clips()[0], cache_clips=4)
    video, places = windows.batch(seed=0, step=3, batch=4, window=5)
    assert video.shape == (4, 5, 2, 3, 3)
    for window, place in zip(video.numpy(), places, strict=True):
        assert window[:, 0, 0, 1].tolist() == list(range(place.start, place.start + 5))
        assert f"clip-{window[0, 0, 0, 0]}" == place.clip_id


def test_a_batch_depends_on_seed_stream_and_step_alone():
    first, second = (ClipWindows(counted_clips()[0], cache_clips=size) for size in (1, 4))
    second.batch(seed=0, step=1, batch=3, window=5)

    def places(windows, **which):
        return windows.batch(**{"seed": 0, "step": 7, "batch": 3, "window": 5} | which)[1]

    assert places(first) == places(second)
    assert places(first) != places(first, step=8)
    assert places(first) != places(first, seed=1)
    assert places(first) != places(first, stream=1)


def test_a_batch_does_not_repeat_a_clip_while_there_are_enough():
    windows = ClipWindows(counted_clips(4)[0], cache_clips=4)
    for step in range(20):
        assert len({place.clip_id for place in windows.batch(seed=0, step=step, batch=4, window=5)[1]}) == 4
    assert len(windows.batch(seed=0, step=0, batch=9, window=5)[1]) == 9


def test_every_start_is_drawn_the_last_one_included():
    windows = ClipWindows(counted_clips(1, frames=7)[0], cache_clips=1)
    starts = {windows.batch(seed=0, step=step, batch=1, window=5)[1][0].start for step in range(60)}
    assert starts == {0, 1, 2}


def test_a_set_that_fits_is_decoded_once():
    clips, decoded = counted_clips(3)
    windows = ClipWindows(clips, cache_clips=3)
    batches = windows.batches(seed=0, batch=2, window=5)
    for _ in range(40):
        next(batches)
    assert sorted(decoded) == [0, 1, 2]


def test_spread_windows_touch_every_clip_and_never_change():
    windows = ClipWindows(counted_clips(4)[0], cache_clips=1)
    spread = windows.spread(count=8, window=5)
    assert spread[:, 0, 0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert np.array_equal(spread, windows.spread(count=8, window=5))


@pytest.mark.parametrize(("most", "found", "read"), [(1, 1, 1), (4, 4, 2), (8, 8, 3), (12, 12, 4), (13, 12, 4)])
def test_windows_side_by_side_are_counted_and_no_more_clips_read_than_needed(most, found, read):
    clips, decoded = counted_clips(4, frames=20)
    assert ClipWindows(clips, cache_clips=1).count_apart(6, most=most) == found
    assert len(decoded) == read


def test_clips_too_short_for_a_window_do_not_count_however_few_windows_are_asked_for():
    short, long = counted_clips(4, frames=5)[0], counted_clips(1, frames=13)[0]
    windows = ClipWindows([*short, Clip("long", long[0].load)], cache_clips=5)
    assert windows.count_apart(6, most=3) == 2


def test_an_unreadable_clip_is_named():
    def broken():
        raise OSError("gone")

    with pytest.raises(OSError, match="gone") as caught:
        _ = ClipWindows([Clip("the-one", broken)], cache_clips=1).shape
    assert caught.value.__notes__ == ["clip the-one"]


def test_clips_of_a_shard_are_found_by_their_bytes(store, mp4):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in {
            f"{clip_id(n)}.{end}": data for n in (1, 0) for end, data in (("mp4", mp4), ("json", b"{}"))
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    store.write_blob("shards/v1/train/clips-000000.tar", buffer.getvalue())
    rows = [
        {"version": "v1", "split": "train", "path": "shards/v1/train/clips-000000.tar"},
        {"version": "v0", "split": "train", "path": "shards/v0/train/clips-000000.tar"},
    ]
    store.append("shards", rows)
    windows = ClipWindows(shard_clips(store, "v1", "train"), cache_clips=1)
    assert windows.num_clips == 2
    assert windows.shape == (6, 16, 32)
    assert {place.clip_id for place in windows.batch(seed=0, batch=2, window=6).places} == {clip_id(0), clip_id(1)}
    check_window(windows, 6, "tokenizer.window")
    with pytest.raises(UserError, match=r"6 frames hold no window of 16: lower tokenizer\.window, or raise clips\.sec"):
        check_window(windows, 16, "tokenizer.window")
    with pytest.raises(UserError, match="hold no training clip"):
        training_clips(store, "v2")
    with pytest.raises(UserError, match="no training shards yet"):
        training_clips(store, None)


@pytest.fixture
def mp4():
    return video_bytes(np.full((6, 16, 32, 3), 90, np.uint8), fps=10)
