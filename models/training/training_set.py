"""The training shards as windows: clips without taken-down videos, and what is said of those that are left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.runtime.ranks import ALONE, Ranks
from models.training.data import ClipWindows, training_clips
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.progress import notify
from pipeline.shards.enough import too_few_shards
from pipeline.shards.loader.clips import ShardClips
from pipeline.shards.sample import restore_advice
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

_NAMED_BAD = 20


def train_and_val_clips(store: Store, version: str | None) -> tuple[ShardClips, ShardClips]:
    """Return train and val clips of a set; errors as of `training_clips` and `check_takedown`."""
    train, val = training_clips(store, version)
    check_takedown(store, train)
    return train, val


def training_windows(job: Job, version: str | None, clips: ShardClips, ranks: Ranks = ALONE) -> ClipWindows:
    """Return the windows of the training clips; says where the shards are too few for the workers of all ranks.

    Raises:
        UserError: there are fewer clips than workers of all ranks, so that some would have nothing to decode.
    """
    training = job.config.training
    windows = _windows(job, version, clips, training.cache_clips, ranks)
    workers, samples = windows.num_workers, sum(clips.counts)
    told = too_few_shards(
        split="train",
        shards=len(clips.rows),
        samples=samples,
        samples_per_shard=job.config.shards.samples_per_shard,
        ranks=ranks.count,
        workers=workers,
    )
    if told and samples < ranks.count * max(1, workers):
        raise UserError(told)
    if told and ranks.first:
        notify(told, job.on_progress)
    return windows


def measured_windows(job: Job, version: str | None, clips: ShardClips) -> ClipWindows:
    """Return windows that a model is measured on after its training."""
    return _windows(job, version, clips, 1, ALONE)


def windows_on_the_way(job: Job, version: str | None, val: ShardClips) -> Callable[[], ClipWindows | None]:
    """Return what gives the windows that a training is measured on while it runs; None without held-out clips."""
    return lambda: measured_windows(job, version, val) if sum(val.counts) else None


def _windows(job: Job, version: str | None, clips: ShardClips, cache_clips: int, ranks: Ranks) -> ClipWindows:
    training = job.config.training
    return ClipWindows(
        clips,
        cache_clips=cache_clips,
        max_bad_share=training.max_bad_share,
        on_progress=job.on_progress,
        restore=restore_advice(version),
        training=training,
        ranks=ranks,
    )


def left_out(loader: dict[str, Any] | None, windows: ClipWindows, held: ClipWindows) -> dict[str, int]:
    """Return how many samples the training and the metrics after it skipped, and how many hold no window."""
    passed = (loader or {}).get("passed", {})
    over = {f"clips_{name}": passed[name] for name in ("short", "cut") if passed.get(name)}
    return {"bad_samples": len(windows.bad), "bad_samples_held_out": len(held.bad), **over}


def bad_samples(windows: ClipWindows) -> dict[str, Any]:
    """Return the first samples that were skipped, with their reasons; nothing without any."""
    return {"bad_samples": dict(list(windows.bad.items())[:_NAMED_BAD])} if windows.bad else {}


def check_takedown(store: Store, clips: ShardClips) -> None:
    """Raise if a takedown was requested for a video of these clips: nothing of it may be learned."""
    made_from = store.inputs("shards") or {}
    if made_from.get("tables", {}).get("takedowns") == store.version("takedowns"):
        return  # the set was made after the last takedown
    gone = sorted(taken_down(store).hidden_among(store, clips.videos()))
    if gone:
        raise UserError(
            f"the training shards hold {len(gone)} taken-down videos ({', '.join(gone[:3])}): materialize "
            "`training_shards` again, then train"
        )
