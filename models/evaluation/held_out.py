"""What an evaluation looks at: clips of held-out sources with their true actions where somebody knows them.

The clips come from the `val` shards: no source of theirs was trained on. True actions are known for the embedded
source's own platformer alone; they are read here, for measuring, and by no training.

Shapes: T frames, H W C pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.arcade.truth import DIRECTIONS, load_truth
from pipeline.clips.decode import decode_clip
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.ids import split_clip_id
from pipeline.shards.read import current_shards, open_shards
from pipeline.storage.arrow import pc
from pipeline.storage.home import Home
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

NUM_DIRECTIONS = 3
_STEP_MS = 100  # true actions are kept at 10 a second
_TRAIN_CLIPS, _FRAMES_PER_TRAIN_CLIP = 24, 12


@dataclass(frozen=True, eq=False)
class HeldOutClip:
    """A clip of a held-out source."""

    clip_id: str
    video_id: str
    start_ms: int
    frames_THWC: np.ndarray
    actions: np.ndarray | None
    """int64 (T - 1,): the true action between frame k and k + 1, or None where nobody knows."""


def direction_of(actions: np.ndarray) -> np.ndarray:
    """Return which way true actions run: 0 left, 1 neither, 2 right (a jump to the left runs left)."""
    return DIRECTIONS[actions].astype(np.int64) + 1


def shards_version(store: Store) -> str:
    """Return the version of the current shards; UserError where there are none."""
    version = current_shards(store)
    if version is None:
        raise UserError(
            f"{store.root} has no training shards yet: materialize training_shards first (`lampworks run`)."
        )
    return version


def held_out_clips(store: Store, config: Config, home: Home | None) -> list[HeldOutClip]:
    """Return clips of held-out sources, in the order of the shards.

    At most `evaluation.clips_per_source` clips of each of the first `evaluation.max_sources` sources are read; those
    of taken-down videos are left out. Without a home no true actions are looked up.
    """
    chosen: list[tuple[str, bytes]] = []
    per_source: dict[str, int] = {}
    for clip_id, mp4 in _samples(store, "val"):
        source = split_clip_id(clip_id)[0]
        if source not in per_source and len(per_source) == config.evaluation.max_sources:
            break
        if per_source.setdefault(source, 0) < config.evaluation.clips_per_source:
            per_source[source] += 1
            chosen.append((clip_id, mp4))
    native = _native_ids(store, list(per_source)) if home is not None else {}
    clips = []
    for clip_id, mp4 in chosen:
        frames, (source, start_ms, _) = decode_clip(mp4), split_clip_id(clip_id)
        actions = None
        if home is not None and source in native:
            actions = true_actions(home, native[source], start_ms, len(frames) - 1)
        clips.append(HeldOutClip(clip_id, source, start_ms, frames, actions))
    return clips


def true_actions(home: Home, native_id: str, start_ms: int, count: int) -> np.ndarray | None:
    """Return the true actions from a clip's start on: action k leads from its frame k to k + 1; None if unknown."""
    truth = load_truth(home, native_id)
    if truth is None or truth.actions is None or start_ms % _STEP_MS:
        return None
    own = np.asarray(truth.actions)[start_ms // _STEP_MS :][:count]
    return own.astype(np.int64) if len(own) == count else None


def training_frames(store: Store) -> np.ndarray:
    """Return frames (N, H, W, C) of the first training clips, one clip of a source: what k-means is fitted on."""
    frames, seen = [], set()
    for clip_id, mp4 in _samples(store, "train"):
        if (source := split_clip_id(clip_id)[0]) in seen:
            continue
        seen.add(source)
        clip = decode_clip(mp4)
        frames.append(clip[np.linspace(0, len(clip) - 1, _FRAMES_PER_TRAIN_CLIP).astype(int)])
        if len(frames) == _TRAIN_CLIPS:
            break
    if not frames:
        raise UserError(f"the training shards of {store.root} hold no clip: label or keep more of them.")
    return np.concatenate(frames)


def window_starts(clip: HeldOutClip, length: int, count: int) -> list[int]:
    """Return the first frames of windows that are spread evenly over a clip."""
    last = len(clip.frames_THWC) - length
    if last < 0:
        raise UserError(
            f"clip {clip.clip_id} of {len(clip.frames_THWC)} frames holds no window of {length}: lower "
            "evaluation.prompt_frames or evaluation.horizon"
        )
    return np.linspace(0, last, count).astype(int).tolist()


def _samples(store: Store, split: str) -> Iterator[tuple[str, bytes]]:
    gone = taken_down(store).hidden_videos(store)
    for sample in open_shards(store, shards_version(store), split):
        if split_clip_id(sample["__key__"])[0] not in gone:
            yield sample["__key__"], sample["mp4"]


def _native_ids(store: Store, video_ids: list[str]) -> dict[str, str]:
    # only the embedded source's videos have a truth; a native id of another site could be anything
    where = pc.field("video_id").isin(pa.array(video_ids, pa.string())) & (pc.field("source") == "arcade")
    rows = store.read("videos", columns=["video_id", "native_id"], where=where).to_pylist()
    return {row["video_id"]: row["native_id"] for row in rows if row["native_id"]}
