"""Windows of training clips, drawn from (seed, step) alone, so that a resumed run gets the same ones.

    clips = shard_clips(store, version, "train")
    windows = ClipWindows(clips, cache_clips=64)
    video_BTHWC, places = windows.batch(seed=0, step=17, batch=4, window=5)

A clip is decoded when one of its windows is needed. The most recently used clips stay decoded, up to `cache_clips`, so
memory does not grow with the data set.

A sample that cannot be used (bytes that cannot be decoded, another number or size of frames than the others have, lost
with its tar) is skipped: the next clip by id takes its place, after the last one the first. Whether a sample can be
used follows from its bytes alone, so every run of the same shards skips the same ones.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.clips.samples import BAD_SAMPLE
from pipeline.clips.stored import decode_stored_clip
from pipeline.errors import PermanentError, UserError
from pipeline.progress import ProgressCallback, notify
from pipeline.shards.read import read_samples
from pipeline.shards.sample import DamagedSample, read_sample
from pipeline.shards.splits import Split
from pipeline.storage.store import Store

Video = npt.NDArray[np.uint8]
_SHAPE_VOTES = 3
_NOTICES = 20
"""Unusable clips of which each is told; the row and the checkpoints count the others too."""


@dataclass(frozen=True)
class Clip:
    """A clip that can be decoded."""

    clip_id: str
    load: Callable[[], Video]
    """Returns uint8 (T, H, W, 3); PermanentError (`bad_sample`) where its bytes cannot be decoded."""
    damage: str = ""
    """Why it cannot be loaded, where that is known before it is tried; its id may then be unknown too."""


class Place(NamedTuple):
    """The position of a window."""

    clip_id: str
    start: int
    """Index of its first frame."""


class ClipWindows:
    """Windows of clips, with a least-recently-used cache of decoded clips."""

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        cache_clips: int,
        max_bad_share: float = 1.0,
        on_progress: ProgressCallback | None = None,
        restore: str = "",
    ) -> None:
        """Take windows from clips.

        Args:
            clips: in the order in which one replaces another that cannot be used.
            cache_clips: decoded clips kept in memory.
            max_bad_share: more unusable clips than this share of all are an error.
            on_progress: is told of the first clips that are skipped.
            restore: a sentence that says how the clips are made whole again.
        """
        if not clips:
            raise ValueError("no clips to take windows from")
        self.clips, self._cache_clips, self._max_bad_share = list(clips), cache_clips, max_bad_share
        self._on_progress, self._restore = on_progress, restore
        self._cache: OrderedDict[int, Video] = OrderedDict()
        self._bad: dict[int, str] = {}
        for index, clip in enumerate(self.clips):
            if clip.damage:
                self._skip(index, clip.damage)

    @property
    def bad(self) -> dict[str, str]:
        """The clips that were met and cannot be used: id -> reason, sorted."""
        return dict(sorted((self.clips[index].clip_id, reason) for index, reason in self._bad.items()))

    def skip(self, known: Mapping[str, str]) -> None:
        """Skip clips that an earlier part of the run skipped: id -> reason."""
        if not known:
            return
        _ = self.shape  # as the earlier part found it, before it skipped any of them
        for index, clip in enumerate(self.clips):
            if clip.clip_id in known and index not in self._bad:
                self._skip(index, known[clip.clip_id])

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Frames, height and width of a clip: what most of the first three usable clips have."""
        votes: list[tuple[int, ...]] = []
        for index in range(len(self.clips)):
            if index not in self._bad and (video := self._load(index)) is not None:
                votes.append(video.shape)
                if len(votes) == _SHAPE_VOTES:
                    break
        if not votes:
            raise self._too_many()
        frames, height, width, _ = Counter(votes).most_common(1)[0][0]
        return frames, height, width

    def video(self, index: int) -> Video:
        """Return a decoded clip, uint8 (T, H, W, 3), or the next one that can be used."""
        return self._usable(index)[1]

    def batch(self, *, seed: int, step: int, batch: int, window: int, stream: int = 0) -> tuple[Tensor, list[Place]]:
        """Return the windows of a step, uint8 (batch, window, H, W, 3), and where they lie.

        Clips do not repeat within a batch if there are enough of them. `stream` separates trainings that share a seed.

        Raises:
            UserError: more clips than `max_bad_share` cannot be used.
        """
        rng = np.random.default_rng((seed, stream, step))
        indices = rng.choice(len(self.clips), size=batch, replace=batch > len(self.clips)).tolist()
        windows, places = [], []
        for place, drawn in enumerate(indices):
            index, video = self._usable(drawn, unlike=[*(indices[:place]), *indices[place + 1 :]])
            indices[place] = index
            start = int(rng.integers(0, len(video) - window + 1))
            windows.append(video[start : start + window])
            places.append(Place(self.clips[index].clip_id, start))
        return torch.from_numpy(np.stack(windows)), places

    def spread(self, *, count: int, window: int) -> Tensor:
        """Return windows spread evenly over clips and time, the same at every call, uint8 (count, window, H, W, 3)."""
        windows = []
        for number in range(count):
            video = self.video(number * len(self.clips) // count)
            last = len(video) - window
            windows.append(video[(start := number * 37 % (last + 1)) : start + window])
        return torch.from_numpy(np.stack(windows))

    def _usable(self, index: int, unlike: Collection[int] = ()) -> tuple[int, Video]:
        """Return a clip that can be used and its index: this one, else the next, `unlike` those of the batch if any."""
        if (video := self._checked(index)) is not None:
            return index, video
        taken = set(unlike)
        for repeated in (False, True):
            for step in range(1, len(self.clips)):
                other = (index + step) % len(self.clips)
                if (other in taken) == repeated and (video := self._checked(other)) is not None:
                    return other, video
        raise self._too_many()

    def _checked(self, index: int) -> Video | None:
        """Return a decoded clip; None, and it is noted, where it cannot be used."""
        if index in self._bad:
            return None
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        frames, height, width = self.shape
        video = self._load(index)
        if video is not None and video.shape != (frames, height, width, 3):
            found = f"{len(video)} frames of {video.shape[2]}x{video.shape[1]}"
            self._skip(index, f"it has {found}, where the others have {frames} of {width}x{height}")
            video = None
        return video

    def _load(self, index: int) -> Video | None:
        if index in self._cache:
            return self._cache[index]
        try:
            video = self.clips[index].load()
        except PermanentError as exc:
            if exc.error_class != BAD_SAMPLE:
                raise
            self._skip(index, str(exc))
            return None
        except Exception as exc:
            exc.add_note(f"clip {self.clips[index].clip_id}")
            raise
        self._cache[index] = video
        if len(self._cache) > self._cache_clips:
            self._cache.popitem(last=False)
        return video

    def _skip(self, index: int, reason: str) -> None:
        self._bad[index] = reason
        self._cache.pop(index, None)
        if len(self._bad) <= _NOTICES:
            notify(f"clip {self.clips[index].clip_id} is left out of the training: {reason}", self._on_progress)
        if len(self._bad) > self._max_bad_share * len(self.clips) or len(self._bad) == len(self.clips):
            raise self._too_many()

    def _too_many(self) -> UserError:
        named = "; ".join(f"{clip_id}: {reason}" for clip_id, reason in list(self.bad.items())[:3])
        ways = [self._restore] if self._restore else []
        if len(self._bad) < len(self.clips):
            ways.append("To train on the others, raise training.max_bad_share.")
        share = f"more than training.max_bad_share = {self._max_bad_share:g}"
        return UserError(
            f"{len(self._bad)} of {len(self.clips)} training clips cannot be used, {share} ({named}). {' '.join(ways)}"
        )


def shard_clips(store: Store, version: str, split: Split) -> list[Clip]:
    """Return the clips of a split of a shard version, in the order of their ids; nothing is decoded yet.

    Samples that a damaged tar does not give are among them, with their `damage`.
    """
    damaged: list[DamagedSample] = []
    clips = [
        Clip(sample.clip_id, _ShardClip(store, sample.tar, sample.offset, sample.size, sample.sha256))
        for sample in read_samples(store, version, split, damaged.append)
    ]
    clips += [Clip(sample.name, _unreadable(sample.reason), sample.reason) for sample in damaged]
    return sorted(clips, key=lambda clip: clip.clip_id)


@dataclass(frozen=True)
class _ShardClip:
    """Loads a clip from a shard."""

    store: Store
    path: str
    offset: int
    size: int
    sha256: str | None

    def __call__(self) -> Video:
        """Return its frames, uint8 (T, H, W, 3); PermanentError (`bad_sample`) where they cannot be read or decoded."""
        return decode_stored_clip(read_sample(self.store, self.path, self.offset, self.size, self.sha256))


def _unreadable(reason: str) -> Callable[[], Video]:
    def load() -> Video:
        raise PermanentError(reason, error_class=BAD_SAMPLE)

    return load


def training_clips(store: Store, version: str | None) -> tuple[list[Clip], list[Clip]]:
    """Return train and val clips of a shard version; UserError says what to do where there is nothing to train on."""
    if version is None:
        raise UserError("there are no training shards yet: materialize `training_shards` first (lampworks run)")
    train, val = shard_clips(store, version, "train"), shard_clips(store, version, "val")
    if not train:
        raise UserError(
            f"shards {version} hold no training clip: keep more clips (labels, decision.target_precision), or hold "
            "out fewer sources (split.val_share)"
        )
    return train, val


def check_window(windows: ClipWindows, window: int, name: str) -> None:
    """Raise a UserError unless the clips are as long as a window; `name` is the setting of the window."""
    if (frames := windows.shape[0]) < window:
        raise UserError(f"clips of {frames} frames hold no window of {window}: lower {name}, or raise clips.seconds")
