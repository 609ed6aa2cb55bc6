"""Prepare a training whose dynamics is led by true actions: its clips, its actions, and what its row says of them.

truth = led_by_truth(store, config, train, val)       # None where latent actions lead
truth.train, truth.val                                # the clips that have true actions
truth.actions_of(clip_id)                             # int16 (T - 1,), from frame k to frame k + 1
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.true_actions import HOW_TO_HAVE, ActionClasses, LedClips, classes_from, fit_classes, read_known_actions
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.model_start import Start
from pipeline.shards.loader.clips import ShardClips
from pipeline.storage.store import Store


@dataclass(frozen=True)
class LedByTruth:
    """The true actions of a training set, and the clips that have them."""

    classes: ActionClasses
    train: LedClips
    val: LedClips
    rule: str

    def actions_of(self, clip_id: str) -> npt.NDArray[np.int16] | None:
        """Return the actions of a clip; None where it has none that the world knows."""
        found = self.train.codes.get(clip_id)
        return self.val.codes.get(clip_id) if found is None else found

    def about(self) -> dict[str, Any]:
        """Return what the row of the model says of its actions."""
        return {**self.classes.as_json(), "join": self.rule, "clips_without": self.train.left_out}

    def sentences(self) -> Iterator[str]:
        """Yield what a person must be told before the first step."""
        names = ", ".join(self.classes.names[:12]) + (", ..." if len(self.classes.names) > 12 else "")
        yield f"led by true actions: {names}; {sum(self.train.counts)} training clips have them"
        if self.train.left_out:
            yield f"{self.train.left_out} training clips have no true actions and are left out"


def led_by_truth(
    store: Store, config: Config, train: ShardClips, val: ShardClips, start: Start | None = None
) -> LedByTruth | None:
    """Return the true actions that lead a training; None where `dynamics.led_by` is latent actions.

    Args:
        store: has the shards.
        config: the settings.
        train: the training clips.
        val: the held-out ones.
        start: the world that training begins with: its prototypes of continuous actions stay.

    Raises:
        UserError: no training clip has true actions, or they do not fit `latent_actions.num_actions` or `latent_dim`,
            or the world that training begins with has others.
    """
    if config.dynamics.led_by != "true_actions":
        return None
    lam, rule = config.latent_actions, config.dynamics.join_actions
    known = read_known_actions(store, train.rows, rule)
    if not known:
        raise UserError(
            "dynamics.led_by = 'true_actions', and no training clip has any: "
            f"{HOW_TO_HAVE}, or set dynamics.led_by: latent_actions"
        )
    classes = fit_classes(known.values(), lam.num_actions)
    before = None if start is None or start.record is None else start.record.inputs.get("true_actions")
    if start is not None and before is not None:
        began = classes_from(before)
        if began.centres_KD is not None:
            classes = began
        elif began.names != classes.names:
            raise UserError(
                f"training.{start.how} = {start.name!r}: its true actions are {', '.join(began.names)}, those of the "
                f"training clips {', '.join(classes.names)}: set training.{start.how} = '' to begin at random"
            )
    if lam.latent_dim < lam.num_actions:
        raise UserError(
            f"latent_actions.latent_dim = {lam.latent_dim}: {lam.num_actions} true actions need as many values; set it "
            f"to {lam.num_actions} or more"
        )
    held = LedClips(val, read_known_actions(store, val.rows, rule), classes)
    truth = LedByTruth(classes, LedClips(train, known, classes), held, rule)
    if not sum(truth.train.counts):
        raise UserError(
            "no training clip has one true action for each of its transitions: cut the videos again, write the shards "
            "again, and train then"
        )
    return truth
