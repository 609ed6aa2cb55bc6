"""Batches: the same ones in any number of processes and ranks, from any position; what fails is retried, or counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.clips.encode import encode_clip
from pipeline.clips.stored import decode_clip
from pipeline.config import ClipConfig
from pipeline.errors import PermanentError, RetryableError, UserError
from pipeline.shards.loader import decode
from pipeline.shards.loader.clips import Mp4, shard_clips
from pipeline.shards.loader.decode import decode_windows, read_mp4
from pipeline.shards.loader.loader import Batch
from pipeline.shards.loader.order import OrderSettings, blocks_of_epoch
from pipeline.storage.store import Store
from tests.shards import add_indexed_shards
from tests.windows import SETTINGS, SIZES, clip_id, frames_of, same, source, take


def test_windows_are_the_frames_of_the_clips_that_they_name(expected: list[Batch], mp4s: list[bytes]) -> None:
    decoded = {clip_id(number): decode_clip(mp4) for number, mp4 in enumerate(mp4s)}
    seen = set()
    for video, places in expected:
        for window, place in zip(video, places, strict=True):
            assert np.array_equal(window, decoded[place.clip_id][place.start : place.start + 8])
            seen.add(place.clip_id)
    assert seen == set(decoded)


def test_workers_give_what_one_process_gives_and_another_number_of_them_goes_on_in_mid_epoch(
    shards: Store, expected: list[Batch]
) -> None:
    with source(shards, workers=2) as windows:
        loader = windows.loader(SETTINGS)
        assert same(take(loader, 7), expected[:7])
        state = loader.state()
    with source(shards, workers=1) as windows:
        loader = windows.loader(SETTINGS, state=state)
        assert same(take(loader, 33), expected[7:])
    with source(shards, keep=99) as windows:
        assert same(take(windows.loader(SETTINGS, state=state), 33), expected[7:])
        alone = windows.loader(SETTINGS)
        take(alone, 7)
        assert alone.state() == state


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_take_parts_of_the_same_batches_also_after_a_change_of_their_number(
    shards: Store, expected: list[Batch], ranks: int
) -> None:
    with source(shards, keep=99) as windows:
        parts = [windows.loader(SETTINGS, rank=rank, ranks=ranks) for rank in range(ranks)]
        for batch in expected[:25]:
            found = [next(part) for part in parts]
            assert [place for one in found for place in one.places] == batch.places
            assert np.array_equal(np.concatenate([one.video_BTHWC for one in found]), batch.video_BTHWC)
        state = parts[-1].state()
        assert same(take(windows.loader(SETTINGS, state=state), 5), expected[25:30])


def test_a_state_of_another_order_begins_the_epoch_after_it(shards: Store) -> None:
    with source(shards, keep=99) as windows:
        first = windows.loader(SETTINGS)
        take(first, 3)
        other = windows.loader(OrderSettings(seed=0, batch=2, window=8), state=first.state())
        assert other.state()["epoch"] == 1


def test_blocks_of_tars_are_read_one_after_the_other_without_a_gap(shards: Store, mp4s: list[bytes]) -> None:
    orders = (OrderSettings(seed=seed, batch=1, window=8, shuffle_clips=1) for seed in range(99))
    small = next(order for order in orders if len(blocks_of_epoch(SIZES, order, 0)) == 2)
    with source(shards, workers=1) as windows:
        loader = windows.loader(small)
        places = [batch.places[0] for batch in take(loader, 6 * 13)]
        assert loader.state()["epoch"] == 0
        assert loader.state()["block"] == 1
    assert {place.clip_id for place in places} == {clip_id(number) for number in range(13)}


def test_no_window_spans_a_cut_and_clips_that_are_cut_too_often_are_counted(store: Store, mp4s: list[bytes]) -> None:
    cuts = {clip_id(0): [2000], clip_id(1): [500, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500]}
    add_indexed_shards(store, [{clip_id(n): mp4s[n] for n in range(3)}], cut_ms=cuts)
    with source(store) as windows:
        loader = windows.loader(SETTINGS)
        places = [place for batch in take(loader, 60) for place in batch.places]
        assert {place.clip_id for place in places} == {clip_id(0), clip_id(2)}
        starts = {place.start for place in places if place.clip_id == clip_id(0)}
        assert starts <= {*range(13), *range(20, 41)}
        assert len(starts) > 20
        assert loader.passed.about() == {"clips": 3, "short": 0, "cut": 1}


@pytest.mark.parametrize("starts", [[0], [40], [33, 3], [0, 8, 16, 24, 32, 40], [39], [16], [15, 31], [4, 38]])
def test_only_the_pictures_that_are_needed_are_decoded_and_they_are_those_of_the_whole_clip(
    mp4s: list[bytes], starts: list[int]
) -> None:
    whole = decode_clip(mp4s[3])
    windows = [np.zeros((8, 16, 32, 3), np.uint8) for _ in starts]
    decode_windows(mp4s[3], starts, windows)
    for start, window in zip(starts, windows, strict=True):
        assert np.array_equal(window, whole[start : start + 8])


def test_a_late_window_skips_the_frames_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    mp4 = encode_clip(frames_of(1, 160), ClipConfig()).mp4
    decoded = []
    real = decode.av.container.InputContainer.decode

    class Counted:
        def __init__(self, container: object) -> None:
            self.container = container

        def __getattr__(self, name: str) -> object:
            return getattr(self.container, name)

        def __enter__(self) -> Counted:
            self.container.__enter__()  # type: ignore[attr-defined]
            return self

        def __exit__(self, *error: object) -> None:
            self.container.__exit__(*error)  # type: ignore[attr-defined]

        def decode(self, stream: object) -> Iterator[object]:
            for frame in real(self.container, stream):
                decoded.append(frame)
                yield frame

    opened = decode.av.open
    monkeypatch.setattr(decode.av, "open", lambda file: Counted(opened(file)))
    window = np.zeros((8, 16, 32, 3), np.uint8)
    decode_windows(mp4, [150], [window])
    assert len(decoded) <= 16 + 8, "at most a group of pictures before it"
    assert np.array_equal(window, decode_clip(mp4)[150:158])


def test_a_clip_with_fewer_frames_than_its_index_says_is_a_bad_sample(mp4s: list[bytes]) -> None:
    with pytest.raises(PermanentError, match="ends before frame 51, which its index says") as caught:
        decode_windows(mp4s[0], [44], [np.zeros((8, 16, 32, 3), np.uint8)])
    assert caught.value.error_class == "bad_sample"


def test_a_corrupt_sample_is_replaced_and_counted_in_workers_as_in_one_process(shards: Store) -> None:
    row = shards.read("shards").sort_by("path").to_pylist()[0]
    data = bytearray(shards.read_blob(row["path"]))
    data[3000:3020] = b"\xff" * 20
    shards.write_blob(row["path"], bytes(data))
    found = []
    for keep, workers in ((99, 1), (1, 1), (1, 2)):
        with source(shards, keep=keep, workers=workers) as windows:
            found.append(take(windows.loader(SETTINGS), 30))
            [(name, reason)] = windows.bad.items()
            assert "are not those that were cut" in reason
            assert all(len({place.clip_id for place in batch.places}) == 4 for batch in found[-1])
            assert name not in {place.clip_id for batch in found[-1] for place in batch.places}
    assert same(found[0], found[1])
    assert same(found[0], found[2])
    with source(shards, max_bad_share=0.05) as windows, pytest.raises(UserError, match="1 of 13 training clips cannot"):
        take(windows.loader(SETTINGS), 30)


# -- an object store ----------------------------------------------------------------------------------------------


class Unsteady(Store):
    """A remote store that fails some reads."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.is_local, self.failures = False, 0

    def read_range(self, key: str, offset: int, size: int) -> bytes:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("connection reset")
        with Path(self.url(key)).open("rb") as file:
            file.seek(offset)
            return file.read(size)


def test_a_read_that_fails_is_tried_again_and_after_some_times_an_error_that_is_no_bad_sample(
    shards: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_PAUSE_S", 0.001)
    [clip] = shard_clips(shards, "v1", "train").read(3)
    assert isinstance(clip.mp4, Mp4)
    store = Unsteady(shards.root)
    store.failures = 3
    assert len(read_mp4(store, clip.mp4)) == clip.mp4.size
    store.failures = 4
    with pytest.raises(RetryableError, match=r"clips-000003.tar, bytes .*: the store failed 4 times \(ConnectionError"):
        read_mp4(store, clip.mp4)


@pytest.mark.timeout(120)
def test_windows_come_from_s3_by_ranged_reads_and_no_tar_is_copied(
    shards: Store, expected: list[Batch], s3_options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Store("s3://lampworks-test/loader", s3_options)
    for key in shards.list_blobs("shards"):
        remote.write_blob(key, shards.read_blob(key))
    remote.append("shards", shards.read("shards"))
    monkeypatch.setattr(Store, "local_file", None)
    whole, read = [], Store.read_blob
    monkeypatch.setattr(Store, "read_blob", lambda self, key: whole.append(key) or read(self, key))
    with source(remote) as windows:
        assert same(take(windows.loader(SETTINGS), 10), expected[:10])
    assert whole
    assert all(key.endswith(".index.parquet") for key in whole)
