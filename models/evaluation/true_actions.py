"""Add to held-out clips the true actions that lie beside their tars: to score latent actions, or to lead a world.

The embedded source's own truth (`models.evaluation.held_out`) stays where it is known: it has states beside actions.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from models.evaluation.held_out import HeldOutClip
from models.true_actions import HOW_TO_HAVE, ActionClasses, classes_from, fit_classes, read_known_actions
from pipeline.actions.join import ClipActions
from pipeline.errors import UserError
from pipeline.shards.read import current_shards, shard_rows
from pipeline.shards.splits import Split
from pipeline.storage.store import Store

_LOGGER = logging.getLogger(__name__)


def with_true_actions(
    store: Store, clips: Sequence[HeldOutClip], num_prototypes: int, split: Split = "val"
) -> list[HeldOutClip]:
    """Return clips with the true actions of their recordings, where none are known yet.

    Continuous actions are scored as prototypes, fitted on these clips. Where some clips have names and others values,
    or another number of values, those of the kind that most clips have are scored; a warning says how many are not.

    Args:
        store: its shards hold the clips.
        clips: held-out clips, or training clips.
        num_prototypes: as how many prototypes continuous actions are scored.
        split: where the clips are from.
    """
    lacking = [clip.clip_id for clip in clips if clip.actions is None]
    known = read_known_actions(store, _rows(store, split), "auto", lacking) if lacking else {}
    if not known:
        return list(clips)
    known = _of_one_kind(known)
    classes = fit_classes(known.values(), None, num_prototypes)
    found = []
    for clip in clips:
        own = classes.of(known[clip.clip_id]) if clip.clip_id in known else None
        if own is not None and len(own) == len(clip.frames_THWC) - 1:
            values = known[clip.clip_id].values
            clip = replace(clip, actions=own.astype("int64"), action_names=classes.names, values=values)
        found.append(clip)
    return found


def _of_one_kind(known: Mapping[str, ClipActions]) -> dict[str, ClipActions]:
    """Return the actions of the clips that have the most frequent kind; of two as frequent, that of the first clip."""
    sizes = {clip_id: None if own.values is None else own.values.shape[1] for clip_id, own in known.items()}
    most = Counter(sizes.values()).most_common(1)[0][0]
    if others := sum(size != most for size in sizes.values()):
        what = "names" if most is None else f"{most} values each"
        _LOGGER.warning(
            "true actions of %d of %d clips are of another kind than most (%s) and are not used",
            others,
            len(sizes),
            what,
        )
    return {clip_id: own for clip_id, own in known.items() if sizes[clip_id] == most}


def led_by_true_actions(
    store: Store, clips: Sequence[HeldOutClip], about: Mapping[str, Any], split: Split = "val"
) -> list[HeldOutClip]:
    """Return the clips whose true actions a world knows, with the numbers that they have there (`codes`).

    Args:
        store: its shards hold the clips.
        clips: held-out clips, or training clips.
        about: what the row of the world says of its true actions.
        split: where the clips are from.

    Raises:
        UserError: no clip has such actions.
    """
    classes: ActionClasses = classes_from(about)
    known = read_known_actions(store, _rows(store, split), about["join"], [clip.clip_id for clip in clips])
    found = []
    for clip in clips:
        codes = classes.of(known[clip.clip_id]) if clip.clip_id in known else None
        if codes is None or len(codes) != len(clip.frames_THWC) - 1:
            _LOGGER.warning("clip %s is left out of the evaluation: it has no true actions of the world", clip.clip_id)
            continue
        wide = codes.astype("int64")
        if clip.actions is None:
            clip = replace(clip, actions=wide, action_names=classes.names)
        found.append(replace(clip, codes=wide))
    if not found:
        raise UserError(f"the world is led by true actions, and no held-out clip has any that it knows: {HOW_TO_HAVE}")
    return found


def _rows(store: Store, split: Split) -> list[dict[str, Any]]:
    version = current_shards(store)
    return [] if version is None else shard_rows(store, version, split)
