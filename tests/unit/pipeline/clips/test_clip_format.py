"""What a stored clip is, in windows and episodes: quality, key frames, place in its tar, checksums."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from pipeline.clips.cut_batch import cut_batch
from pipeline.clips.read import read_clips
from pipeline.config import ClipConfig, Config
from pipeline.job import BatchJob
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.unit.pipeline.clips.test_cut_batch import BATCH, add_video, pictures


def key_frames(mp4: bytes) -> list[int]:
    with av.open(io.BytesIO(mp4)) as container:
        return [index for index, frame in enumerate(container.decode(video=0)) if frame.key_frame]


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("mode", ["windows", "episodes"])
def test_clips_have_their_quality_key_frames_place_and_checksums(
    store: Store, make_video: Callable[..., Path], tmp_path: Path, mode: str
) -> None:
    add_video(store, "folder-a", make_video(tmp_path / "v.mp4", pictures(4.1), fps=20).read_bytes())
    sizes = {}
    for crf in (18, 23):
        clips = ClipConfig(mode=mode, seconds=4, crf=crf)
        config = Config(clips=clips)
        cut_batch(BatchJob(store, config, home_of(store), batch=BATCH))
        [row] = read_clips(store, config).to_pylist()
        tar = store.read_blob(row["tar"])
        mp4 = tar[row["offset"] : row["offset"] + row["size"]]
        strip = tar[row["frames_offset"] : row["frames_offset"] + row["frames_size"]]
        assert hashlib.sha256(mp4).hexdigest() == row["sha256"]
        assert zlib.crc32(strip) == row["frames_crc32"]
        # a window of 16 frames that starts at a key frame decodes itself alone
        assert key_frames(mp4) == [0, 16, 32]
        assert row["num_frames"] == {"windows": 40, "episodes": 41}[mode]
        sizes[crf] = row["size"]
    assert sizes[23] < 0.8 * sizes[18]
