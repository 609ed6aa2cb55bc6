"""Training shards of given clips, as the pipeline publishes them, without the stages before."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.arcade.platformer import platformer_actions, record_platformer
from pipeline.arcade.truth import Truth, write_truth
from pipeline.clips.encode import encode_clip
from pipeline.clips.tar import TarWriter
from pipeline.config import ClipConfig
from pipeline.ids import clip_id_of, split_clip_id
from pipeline.shards.index import write_index
from pipeline.shards.loader.decode import count_frames
from pipeline.storage.home import Home
from pipeline.storage.store import Store

SPEC = "0a1b2c3d"


def add_shards(store: Store, clips: Mapping[str, Mapping[str, bytes]]) -> None:
    """Publish one shard per split; `clips` is split -> clip id -> mp4."""
    rows = []
    for split, samples in clips.items():
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for clip_id, mp4 in samples.items():
                for ending, content in (("json", b"{}"), ("mp4", mp4)):
                    member = tarfile.TarInfo(f"{clip_id}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        path = f"shards/v1/{split}/clips-000000.tar"
        store.write_blob(path, buffer.getvalue())
        rows.append({"version": "v1", "split": split, "path": path, "samples": len(samples)})
    store.append("shards", rows)
    store.write_blob("shards/v1/manifest.json", json.dumps({"shards": rows}).encode())


def add_platformer_shards(store: Store, home: Home, seeds: Mapping[str, Sequence[int]], num_frames: int) -> None:
    """Publish shards of the embedded platformer, two clips a recording, with the true actions; `seeds` by split."""
    clips: dict[str, dict[str, bytes]] = {split: {} for split in seeds}
    videos, seconds = [], 2 * num_frames / 10
    for split, number in ((split, number) for split, numbers in seeds.items() for number in numbers):
        video_id, native_id = f"lampworksarcade-a{number}", f"a{number}"
        frames = np.stack(list(record_platformer(number, 2 * num_frames, fps=10)))
        for start in (0, num_frames):
            mp4 = encode_clip(frames[start : start + num_frames], ClipConfig()).mp4
            clips[split][clip_id_of(video_id, start * 100, SPEC)] = mp4
        actions = platformer_actions(number, 2 * num_frames)
        write_truth(home.arcade, Truth(native_id, "platformer", seconds, ((0.0, seconds, 5),), actions, "", number))
        videos.append({"video_id": video_id, "native_id": native_id, "source": "arcade"})
    store.append("videos", videos)
    add_shards(store, clips)


def add_indexed_shards(
    store: Store, tars: Sequence[Mapping[str, bytes]], *, split: str = "train", cut_ms: Mapping[str, Sequence[int]] = {}
) -> None:
    """Publish tars with their indexes; `tars` is clip id -> mp4 of each, `cut_ms` the scene cuts of some clips."""
    rows = []
    for number, samples in enumerate(tars):
        buffer, entries = io.BytesIO(), []
        tar = TarWriter(buffer)
        for clip_id, mp4 in samples.items():
            tar.add(f"{clip_id}.json", b"{}")
            entries.append(
                {
                    "clip_id": clip_id, "video_id": split_clip_id(clip_id)[0], "offset": tar.add(f"{clip_id}.mp4", mp4),
                    "size": len(mp4), "sha256": hashlib.sha256(mp4).hexdigest(), "num_frames": count_frames(mp4),
                    "fps": 10.0, "cut_ms": list(cut_ms.get(clip_id, [])),
                }
            )  # fmt: skip
        tar.close()
        path = f"shards/v1/{split}/clips-{number:06d}.tar"
        store.write_blob(path, buffer.getvalue())
        index, digest = write_index(store, path, entries)
        row = {"version": "v1", "split": split, "path": path, "samples": len(samples), "bytes": len(buffer.getvalue())}
        rows.append(row | {"index": index, "index_sha256": digest})
    store.append("shards", rows)
