"""Clips of training and of held-out sources with true actions under the same numbers, or why there are too few.

An action counts where it has at least 20 transitions in at least two training sources; the others are left out, with
the transitions at which they were taken.

Shapes: T frames, A true actions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from models.evaluation.accuracy import LEAST_SOURCES, LEAST_TRANSITIONS, frequent_actions
from models.evaluation.chance import TOO_FEW
from models.evaluation.codes import names_of
from models.evaluation.held_out import HeldOutClip, game_with_true_actions, held_out_clips, shards_version
from models.evaluation.true_actions import with_true_actions
from models.inverse_dynamics.reader import ActionClip
from models.true_actions import HOW_TO_HAVE, fit_classes
from pipeline.actions.join import ClipActions
from pipeline.config import Config
from pipeline.ids import split_clip_id
from pipeline.shards.actions import clips_of, read_shard_actions
from pipeline.shards.read import shard_rows
from pipeline.storage.home import Home
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

_CLIPS_PER_SOURCE = 3


@dataclass(frozen=True, eq=False)
class LabelledClips:
    """Clips whose true actions have the same numbers."""

    names: tuple[str, ...] = ()
    """Of the A actions."""
    train: list[ActionClip] = field(default_factory=list)
    """Clips of training sources."""
    held_out: list[np.ndarray | None] = field(default_factory=list)
    """Of each held-out clip its actions, int64 (T - 1,), -1 for one that is left out; None where they are unknown."""
    left_out: tuple[str, ...] = ()
    """Names of the actions of training sources that are too rare."""
    too_few: str = ""
    """Why nothing can be learned from these clips; empty where it can."""


def training_clips_with_actions(
    store: Store, config: Config, home: Home | None, num_prototypes: int
) -> list[HeldOutClip]:
    """Return clips of training sources, with their true actions where these are known.

    At most three clips of each of the first `evaluation.max_sources` sources with true actions are read. Which clips
    have some is looked up by their ids, so no other is decoded.

    Args:
        store: holds the shards, and actions beside them.
        config: how many sources, and how long a clip must be.
        home: holds the truth of the embedded source.
        num_prototypes: as how many prototypes continuous actions count.
    """
    wide = replace(config, evaluation=replace(config.evaluation, clips_per_source=_CLIPS_PER_SOURCE))
    wanted = _has_actions(store, home, config.evaluation.max_sources)
    return with_true_actions(store, held_out_clips(store, wide, home, "train", wanted), num_prototypes, "train")


def _has_actions(store: Store, home: Home | None, most: int) -> Callable[[str], bool]:
    """Return what tells of the id of a training clip whether its true actions are known.

    Of actions beside the tars, those of the first `most` sources count: no more are read.
    """
    game = None if home is None else game_with_true_actions(store, home)
    beside: set[str] = set()
    sources: set[str] = set()
    tombstones = taken_down(store)
    for row in shard_rows(store, shards_version(store), "train"):
        table = read_shard_actions(store, row) if len(sources) < most else None
        for clip_id in () if table is None else clips_of(table):
            source = split_clip_id(clip_id)[0]
            if not tombstones.hidden_among(store, [source]):
                beside.add(clip_id)
                sources.add(source)
    return lambda clip_id: clip_id in beside or (game is not None and game(split_clip_id(clip_id)[0]))


def label_clips(train: Sequence[HeldOutClip], held_out: Sequence[HeldOutClip], num_prototypes: int) -> LabelledClips:
    """Return clips of both kinds with their actions under the same numbers.

    Continuous actions are numbered by prototypes of the training clips.

    Args:
        train: clips of training sources; those without true actions are left out.
        held_out: clips of held-out sources.
        num_prototypes: as how many prototypes continuous actions count.
    """
    names = names_of(train)
    known = [(clip, clip.actions) for clip in train if clip.actions is not None and clip.action_names == names]
    sources = [clip.video_id for clip, _ in known]
    if len(set(sources)) < LEAST_SOURCES:
        have = f"{len(set(sources))} of the training sources have true actions, and {LEAST_SOURCES} are needed"
        return LabelledClips(too_few=f"{TOO_FEW}: {have}: {HOW_TO_HAVE}")
    frequent = frequent_actions([actions for _, actions in known], sources, len(names))
    kept = tuple(name for name, enough in zip(names, frequent, strict=True) if enough)
    rare = {name for name, enough in zip(names, frequent, strict=True) if not enough}
    taken = {names[action] for _, actions in known for action in np.unique(actions)}
    if len(kept) < 2:
        have = f"{len(kept)} true actions have {LEAST_TRANSITIONS} transitions in {LEAST_SOURCES} training sources"
        return LabelledClips(left_out=tuple(sorted(rare & taken)), too_few=f"{TOO_FEW}: {have}, and 2 are needed")
    number = np.cumsum(frequent) - 1
    renumbered = np.where(frequent, number, -1)
    return LabelledClips(
        names=kept,
        train=[ActionClip(clip.video_id, clip.frames_THWC, renumbered[actions]) for clip, actions in known],
        held_out=[
            _numbered(clip, known[0][0], [clip for clip, _ in known], kept, num_prototypes, renumbered)
            for clip in held_out
        ],
        left_out=tuple(sorted(rare & taken)),
    )


def _numbered(
    clip: HeldOutClip,
    like: HeldOutClip,
    train: Sequence[HeldOutClip],
    names: Sequence[str],
    num_prototypes: int,
    renumbered: np.ndarray,
) -> np.ndarray | None:
    """Return the actions of a held-out clip under the numbers of the training clips."""
    if clip.actions is None or (clip.values is None) != (like.values is None):
        return None
    if clip.values is None:
        place = {name: number for number, name in enumerate(names)}
        return np.array([place.get(name, -1) for name in clip.action_names])[clip.actions]
    classes = fit_classes((ClipActions(each.clip_id, None, each.values) for each in train), None, num_prototypes)
    found = classes.of(ClipActions(clip.clip_id, None, clip.values))
    return None if found is None else np.asarray(renumbered[found], np.int64)
