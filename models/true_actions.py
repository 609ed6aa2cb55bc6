"""True actions as the numbers that lead a world: which actions a training set has, and which of them each one is.

    known = read_known_actions(store, rows, rule)             # the actions of each clip that has some
    classes = fit_classes(known.values(), num_actions)        # discrete names, or prototypes of continuous actions
    classes.of(known[clip_id])                                # int16 (T - 1,)

Discrete actions are their own classes. Of continuous ones, k-means of the training set makes `num_actions` prototypes
(distances in units of each value's spread), and the nearest stands for an action: so each key of a player plays one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.networks.initialization import farthest_points, lloyd
from pipeline.actions.join import ClipActions, join_actions
from pipeline.config.world import JoinRule
from pipeline.errors import UserError
from pipeline.shards.actions import read_shard_actions
from pipeline.shards.loader.clips import Clip, ShardClips
from pipeline.storage.store import Store

HOW_TO_HAVE = (
    "set download.actions: keep before the videos are fetched, and lay the actions beside them "
    "(docs/data.md, True actions)"
)
_MOST_SAMPLES, _ROUNDS = 20_000, 20


@dataclass(frozen=True, eq=False)
class ActionClasses:
    """The actions of a world: K of them."""

    names: tuple[str, ...]
    """Of each; a prototype is named by its values."""
    centres_KD: npt.NDArray[np.float32] | None = None
    """Prototypes of continuous actions; None for discrete ones."""
    spread_D: npt.NDArray[np.float32] | None = None
    """Standard deviation of each value in the training set, by which distances are measured."""

    def of(self, actions: ClipActions) -> npt.NDArray[np.int16] | None:
        """Return the class of each action of a clip; None where one is of no class, or of the other kind."""
        if self.centres_KD is None or self.spread_D is None:
            numbers = {name: number for number, name in enumerate(self.names)}
            found = [numbers.get(label, -1) for label in actions.labels or ()]
            return np.array(found, np.int16) if found and min(found) >= 0 else None
        if actions.values is None or actions.values.shape[1] != self.centres_KD.shape[1]:
            return None
        far = (actions.values[:, None] - self.centres_KD[None]) / self.spread_D
        return np.square(far).sum(-1).argmin(1).astype(np.int16)

    def as_json(self) -> dict[str, Any]:
        """Return the classes as JSON has them."""
        if self.centres_KD is None or self.spread_D is None:
            return {"names": list(self.names)}
        return {"names": list(self.names), "centres": self.centres_KD.tolist(), "spread": self.spread_D.tolist()}


def classes_from(about: Mapping[str, Any]) -> ActionClasses:
    """Return the classes that `as_json` returned."""
    if "centres" not in about:
        return ActionClasses(tuple(about["names"]))
    return ActionClasses(
        tuple(about["names"]), np.array(about["centres"], np.float32), np.array(about["spread"], np.float32)
    )


def read_known_actions(
    store: Store, rows: Iterable[Mapping[str, Any]], rule: JoinRule, clips: Iterable[str] | None = None
) -> dict[str, ClipActions]:
    """Return the true actions of the clips of some tars, by clip id; clips without any are left out.

    Args:
        store: the store.
        rows: of `shards`.
        rule: how several rows of a transition become one action.
        clips: ids of those that are wanted; None: all.

    Raises:
        UserError: actions are damaged, or the rule is for the other kind.
    """
    wanted = None if clips is None else set(clips)
    found: dict[str, ClipActions] = {}
    for row in rows:
        table = read_shard_actions(store, row, wanted)
        if table is not None:
            found |= {each.clip_id: each for each in join_actions(table, rule)}
    return found


def fit_classes(
    known: Iterable[ClipActions], num_actions: int | None, num_prototypes: int | None = None
) -> ActionClasses:
    """Return the classes of actions.

    Args:
        known: the actions of clips, at least one.
        num_actions: how many there must be; None: any number.
        num_prototypes: the most of continuous actions, where `num_actions` is None.

    Raises:
        UserError: clips have actions of two kinds or sizes, or another number of actions than `num_actions`.
    """
    clips = list(known)
    first = clips[0]
    size = None if first.values is None else first.values.shape[1]
    for clip in clips:
        if (None if clip.values is None else clip.values.shape[1]) != size:
            raise UserError(
                f"clip {first.clip_id} has {_kind(first)} actions, and clip {clip.clip_id} {_kind(clip)} ones: one "
                "world learns one kind; leave the recordings of the other out"
            )
    if first.values is None:
        return _discrete({label for clip in clips for label in clip.labels or ()}, num_actions)
    values = np.concatenate([clip.values for clip in clips if clip.values is not None])
    return _prototypes(values, num_actions, num_prototypes or 1)


def _kind(clip: ClipActions) -> str:
    return "discrete" if clip.values is None else f"continuous ({clip.values.shape[1]} values)"


def _discrete(labels: set[str], num_actions: int | None) -> ActionClasses:
    whole = all(label.lstrip("-").isdecimal() for label in labels)
    names = tuple(sorted(labels, key=(lambda label: (int(label), label)) if whole else str))
    if num_actions is not None and len(names) != num_actions:
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        raise UserError(
            f"the clips have {len(names)} true actions ({shown}): set latent_actions.num_actions to "
            f"{len(names)} (it is {num_actions})"
        )
    return ActionClasses(names)


def _prototypes(values_ND: npt.NDArray[np.float32], num_actions: int | None, most: int) -> ActionClasses:
    spread = values_ND.std(0)
    spread = np.where(spread > 0, spread, 1).astype(np.float32)
    picked = values_ND[np.linspace(0, len(values_ND) - 1, min(len(values_ND), _MOST_SAMPLES)).astype(int)]
    scaled = torch.from_numpy(picked / spread)
    distinct = len(torch.unique(scaled, dim=0))
    count = min(most, distinct) if num_actions is None else num_actions
    if distinct < count:
        raise UserError(
            f"the clips have {distinct} different true actions: set latent_actions.num_actions to {distinct} "
            f"or less (it is {count})"
        )
    centres = lloyd(scaled, farthest_points(scaled, count, tolerance=0.0), _ROUNDS)[0].numpy() * spread
    centres = centres[np.lexsort(centres.T[::-1])].astype(np.float32)
    return ActionClasses(tuple(_named(centres)), centres, spread)


def _named(centres_KD: npt.NDArray[np.float32]) -> list[str]:
    """Return a name of each prototype: its values, with as many digits as make them differ."""
    for digits in range(2, 8):
        names = ["(" + ", ".join(f"{value + 0.0:.{digits}g}" for value in row) + ")" for row in centres_KD.tolist()]
        if len(set(names)) == len(names):
            return names
    return [f"prototype {number + 1}" for number in range(len(centres_KD))]


class LedClips(ShardClips):
    """The clips of tars whose every transition has a true action that the world knows."""

    def __init__(self, clips: ShardClips, known: Mapping[str, ClipActions], classes: ActionClasses) -> None:
        """Take the clips of some tars.

        Args:
            clips: all clips of the tars.
            known: the actions of those that have some.
            classes: the actions of the world.
        """
        super().__init__(clips.store, clips.rows)
        self.codes = {clip_id: codes for clip_id, each in known.items() if (codes := classes.of(each)) is not None}
        self._read = [self._led(group) for group in range(len(self.rows))]
        self.left_out = sum(clips.counts) - sum(self.counts)
        """Clips without true actions, or with one that the world does not know."""

    @property
    def counts(self) -> Sequence[int]:
        """Return the number of clips of each tar that have true actions."""
        return [len(ids) for ids in self._read]

    def read(self, group: int) -> list[Clip]:
        """Return the clips of a tar that have true actions."""
        ids = self._read[group]
        return [clip for clip in super().read(group) if clip.clip_id in ids]

    def _led(self, group: int) -> frozenset[str]:
        return frozenset(
            clip.clip_id
            for clip in super().read(group)
            if not clip.damage
            and (codes := self.codes.get(clip.clip_id)) is not None
            and clip.num_frames in (None, len(codes) + 1)
        )
