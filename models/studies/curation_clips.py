"""The clips of the three arms that a curated set is judged by, and the held-out clips that all arms are measured on.

Curated clips are those of the training shards; the whole pool is every clip of the same split, whatever was decided of
it; a random subset of the pool has as many clips as the curated set, because more clips may help whatever they show.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from models.evaluation.held_out import HeldOutClip, held_out_clips
from models.training.data import training_clips
from pipeline.clip_spec import clip_spec
from pipeline.clips.read import read_clips
from pipeline.clips.stored import decode_stored_clip
from pipeline.config import Config, fingerprint
from pipeline.errors import PermanentError, UserError
from pipeline.job import Job
from pipeline.shards.loader.clips import Clip, clip_of
from pipeline.shards.read import current_shards
from pipeline.shards.splits import Split, group_of, split_of
from pipeline.storage.store import Store

_LOGGER = logging.getLogger(__name__)
_COLUMNS = ["clip_id", "video_id", "tar", "offset", "size", "sha256", "num_frames", "fps", "cut_ms"]
_SUBSET = 3  # stream of the draws


class CuratedPool(NamedTuple):
    """What the arms train on."""

    curated: list[Clip]
    pool: list[Clip]
    """All clips of training sources."""
    version: str
    """Changes with the clips of either, and with the split."""

    def subset(self, seed: int) -> list[Clip]:
        """Return as many clips of the pool as are curated, drawn evenly; another draw for each seed."""
        rng = np.random.default_rng((seed, _SUBSET))
        drawn = rng.choice(len(self.pool), size=min(len(self.curated), len(self.pool)), replace=False)
        return [self.pool[index] for index in sorted(drawn.tolist())]


def curated_pool(store: Store, config: Config) -> CuratedPool:
    """Return the clips of the arms.

    Raises:
        UserError: there are no training shards, or they hold no training clip.
    """
    version = current_shards(store)
    curated, _ = training_clips(store, version)
    chosen = [clip for group in range(len(curated.counts)) for clip in curated.read(group)]
    rows = _rows(store, config, "train")
    ids = sorted(str(row["clip_id"]) for row in rows)
    key = fingerprint(version, clip_spec(config.clips), config.split, ids)
    return CuratedPool(chosen, [clip_of(row, str(row["tar"])) for row in rows], f"shards {version}, pool {key}")


def held_out_pool(store: Store, config: Config) -> list[HeldOutClip]:
    """Return clips of the held-out sources, whatever was decided of them: menus and other rubbish too.

    At most `evaluation.clips_per_source` of each of the first `evaluation.max_sources` sources, spread evenly over it;
    those that cannot be decoded, are shorter than a window or have another size than most are left out with a warning.
    """
    of_video: dict[str, list[dict[str, object]]] = {}
    for row in _rows(store, config, "val"):
        of_video.setdefault(str(row["video_id"]), []).append(row)
    settings = config.evaluation
    window = settings.prompt_frames + settings.horizon
    found = []
    for video, own in sorted(of_video.items())[: settings.max_sources]:
        places = np.linspace(0, len(own) - 1, min(settings.clips_per_source, len(own))).astype(int)
        for place in dict.fromkeys(places.tolist()):
            row = own[place]
            frames = _frames(store, row)
            if frames is not None and len(frames) >= window:
                found.append(HeldOutClip(str(row["clip_id"]), video, 0, frames, None))
    usual = Counter(clip.frames_THWC.shape[1:] for clip in found).most_common(1)
    return [clip for clip in found if usual and clip.frames_THWC.shape[1:] == usual[0][0]]


def held_out_curated(job: Job, config: Config) -> list[HeldOutClip]:
    """Return curated clips of held-out sources; UserError where there are none."""
    found = held_out_clips(job.store, config, job.home)
    if not found:
        raise UserError("no source is held out: raise split.val_share, or keep more videos, then compare again.")
    return found


def num_sources(clips: Sequence[HeldOutClip]) -> int:
    """Return the number of sources of clips."""
    return len({clip.video_id for clip in clips})


def _rows(store: Store, config: Config, split: Split) -> list[dict[str, object]]:
    """Return the clips of a split's sources, by id."""
    columns = ["video_id", "extractor", "channel_id"]
    own = {
        row["video_id"]
        for row in store.read("videos", columns).to_pylist()
        if split_of(group_of(row), config.split) == split
    }
    rows = [row for row in read_clips(store, config, _COLUMNS).to_pylist() if row["video_id"] in own]
    return sorted(rows, key=lambda row: str(row["clip_id"]))


def _frames(store: Store, row: dict[str, object]) -> np.ndarray | None:
    try:
        mp4 = store.read_range(str(row["tar"]), int(str(row["offset"])), int(str(row["size"])))
        return decode_stored_clip(mp4)
    except PermanentError as exc:
        _LOGGER.warning("clip %s is left out of the study: %s", row["clip_id"], exc)
        return None
