"""Read clips of held-out sources, with their true actions and states where they are known.

The clips come from the `val` shards, whose sources no training uses. True states are known only for the platformer of
the embedded source; they serve measurement, and no training reads them. `models.evaluation.true_actions` adds the true
actions of other sources.

Shapes: T frames, H W C pixels.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa

from pipeline.arcade.platformer import ACTIONS
from pipeline.arcade.truth import DIRECTIONS, TrueStates, load_truth, true_states
from pipeline.clips.stored import decode_stored_clip
from pipeline.config import Config
from pipeline.errors import PermanentError, UserError
from pipeline.ids import split_clip_id
from pipeline.shards.read import current_shards, read_samples
from pipeline.shards.sample import DamagedSample
from pipeline.shards.splits import Split
from pipeline.storage.arrow import pc
from pipeline.storage.home import Home
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

_LOGGER = logging.getLogger(__name__)
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
    """int64 (T - 1,): the true action between frame k and k + 1; None where it is unknown."""
    states: TrueStates | None = None
    """The true state of each frame; None where it is unknown."""
    action_names: tuple[str, ...] = ACTIONS
    """What the numbers of `actions` stand for."""
    values: np.ndarray | None = None
    """float32 (T - 1, D): continuous true actions, of which `actions` are the prototypes; None where there are none."""
    codes: np.ndarray | None = None
    """int64 (T - 1,): the true actions by their numbers in a world that they lead; None for another world."""


def direction_of(actions: np.ndarray) -> np.ndarray:
    """Return the horizontal direction of true actions: 0 left (a jump to the left too), 1 neither, 2 right."""
    return DIRECTIONS[actions].astype(np.int64) + 1


def shards_version(store: Store) -> str:
    """Return the version of the current shards; UserError where there are none."""
    version = current_shards(store)
    if version is None:
        raise UserError(
            f"{store.root} has no training shards yet: materialize training_shards first (`lampworks run`)."
        )
    return version


def held_out_clips(
    store: Store,
    config: Config,
    home: Home | None,
    split: Split = "val",
    wanted: Callable[[str], bool] = lambda clip_id: True,
) -> list[HeldOutClip]:
    """Return clips of held-out sources, in the order of the shards; `split="train"` returns clips of training sources.

    At most `evaluation.clips_per_source` clips of each of the first `evaluation.max_sources` sources are read. Clips of
    taken-down videos are left out, and with a warning those that cannot be decoded, have another size than most, or are
    shorter than a window of the evaluation: lengths differ between episodes. Without a home no true actions are looked
    up. `wanted` tells by its id whether a clip is read at all: decoding takes far longer than any look-up.
    """
    chosen: list[tuple[str, np.ndarray]] = []
    per_source: dict[str, int] = {}
    for clip_id, mp4 in _samples(store, split, wanted):
        source = split_clip_id(clip_id)[0]
        if source not in per_source and len(per_source) == config.evaluation.max_sources:
            break
        if (
            per_source.get(source, 0) < config.evaluation.clips_per_source
            and (frames := _decoded(clip_id, mp4)) is not None
        ):
            per_source[source] = per_source.get(source, 0) + 1
            chosen.append((clip_id, frames))
    native = _native_ids(store, list(per_source)) if home is not None else {}
    clips = []
    usual = Counter(frames.shape[1:] for _, frames in chosen).most_common(1)
    window = config.evaluation.prompt_frames + config.evaluation.horizon
    long_enough = any(len(frames) >= window for _, frames in chosen)
    for clip_id, frames in chosen:
        if frames.shape[1:] != usual[0][0]:
            _warn_of(DamagedSample(clip_id, f"its frames are {frames.shape[1:]}, those of the others {usual[0][0]}"))
            continue
        if long_enough and len(frames) < window:  # an episode; where none is longer, the error says what to lower
            _warn_of(DamagedSample(clip_id, f"it has {len(frames)} frames, and a window of the evaluation {window}"))
            continue
        source, start_ms, _ = split_clip_id(clip_id)
        actions = states = None
        if home is not None and source in native:
            actions = true_actions(home, native[source], start_ms, len(frames) - 1)
            states = clip_states(home, native[source], start_ms, len(frames))
        clips.append(HeldOutClip(clip_id, source, start_ms, frames, actions, states))
    return clips


def game_with_true_actions(store: Store, home: Home) -> Callable[[str], bool]:
    """Return what tells of a video id whether it is a recording of the embedded game whose true actions are known."""
    native = _native_ids(store)

    @cache
    def known(video_id: str) -> bool:
        truth = load_truth(home, native[video_id]) if video_id in native else None
        return truth is not None and truth.actions is not None

    return known


def true_actions(home: Home, native_id: str, start_ms: int, count: int) -> np.ndarray | None:
    """Return the true actions from the start of a clip, action k from frame k to k + 1; None where they are unknown."""
    truth = load_truth(home, native_id)
    if truth is None or truth.actions is None or start_ms % _STEP_MS:
        return None
    own = np.asarray(truth.actions)[start_ms // _STEP_MS :][:count]
    return own.astype(np.int64) if len(own) == count else None


def clip_states(home: Home, native_id: str, start_ms: int, count: int) -> TrueStates | None:
    """Return the true states of the frames of a clip; None where they are unknown."""
    truth = load_truth(home, native_id)
    states = None if truth is None or start_ms % _STEP_MS else true_states(truth)
    return None if states is None else states.part(start_ms // _STEP_MS, count)


def training_frames(store: Store) -> np.ndarray:
    """Return frames (N, H, W, C) of the first training clips, one clip per source, to fit the k-means baseline on."""
    frames, seen = [], set()
    for clip_id, mp4 in _samples(store, "train"):
        if (source := split_clip_id(clip_id)[0]) in seen or (clip := _decoded(clip_id, mp4)) is None:
            continue
        seen.add(source)
        frames.append(clip[np.linspace(0, len(clip) - 1, _FRAMES_PER_TRAIN_CLIP).astype(int)])
        if len(frames) == _TRAIN_CLIPS:
            break
    if not frames:
        raise UserError(f"the training shards of {store.root} hold no clip: label or keep more of them.")
    return np.concatenate(frames)


def _samples(
    store: Store, split: Split, wanted: Callable[[str], bool] = lambda clip_id: True
) -> Iterator[tuple[str, bytes]]:
    tombstones = taken_down(store)
    for sample in read_samples(store, shards_version(store), split, _warn_of):
        if wanted(sample.clip_id) and not tombstones.hidden_among(store, [split_clip_id(sample.clip_id)[0]]):
            try:
                yield sample.clip_id, sample.read_mp4(store)
            except PermanentError as exc:
                _warn_of(DamagedSample(sample.clip_id, str(exc)))


def _decoded(clip_id: str, mp4: bytes) -> np.ndarray | None:
    """Return the frames of a clip; None, with a warning, where its bytes cannot be decoded."""
    try:
        return decode_stored_clip(mp4)
    except PermanentError as exc:
        _warn_of(DamagedSample(clip_id, str(exc)))
        return None


def _warn_of(damaged: DamagedSample) -> None:
    _LOGGER.warning("clip %s is left out of the evaluation: %s", damaged.name, damaged.reason)


def _native_ids(store: Store, video_ids: list[str] | None = None) -> dict[str, str]:
    # only videos of the embedded source have true actions; a native id of another site could be any text
    where = pc.field("source") == "arcade"
    if video_ids is not None:
        where &= pc.field("video_id").isin(pa.array(video_ids, pa.string()))
    rows = store.read("videos", columns=["video_id", "native_id"], where=where).to_pylist()
    return {row["video_id"]: row["native_id"] for row in rows if row["native_id"]}
