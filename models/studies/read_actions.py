"""How well actions are read from true frames of recordings: of others than the network learned from, and of later ones.

For each recording a network is trained on all other recordings with the same kind of actions (those of the same names)
and asked about it. That needs actions that at least two other recordings have. Beside it, a network is trained on the
first clips of the recording itself and asked about its last ones: the same game, the same player, other seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from models.evaluation.accuracy import (
    ENDS,
    LEAST_SOURCES,
    LEAST_TRANSITIONS,
    accuracy_metrics,
    frequent_actions,
)
from models.evaluation.chance import TOO_FEW
from models.evaluation.held_out import HeldOutClip
from models.evaluation.labelled import label_clips
from models.evaluation.metric import Metrics, unknown
from models.inverse_dynamics.reader import ActionClip, train_reader
from models.studies.recordings import Recording
from pipeline.config.evaluation import EvaluationConfig

OTHERS, LATER = "held_out_recording", "later_clips"
_LATER, _LATER_SHARE = 2, 3
"""The last third of the clips of a recording is asked about, two clips at least."""


def read_recording(
    recordings: Sequence[Recording], name: str, config: EvaluationConfig, say: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Return both figures of one recording, as JSON has them.

    Args:
        recordings: all of them.
        name: of the recording that is asked about.
        config: training steps of the network, bootstrap draws, shuffles and seed.
        say: takes progress.
    """
    own = next(each for each in recordings if each.name == name)
    labels = [label for part in own.parts for label in part.actions.labels or ()]
    found: Metrics = {}
    say(f"{name}: other recordings")
    found |= _others(recordings, own, config)
    say(f"{name}: its own later clips")
    found |= _later(own, config)
    counts = {label: labels.count(label) for label in sorted(set(labels))}
    return {"clips": len(own.parts), "transitions": len(labels), "actions": counts, "figures": found}


def _others(recordings: Sequence[Recording], own: Recording, config: EvaluationConfig) -> Metrics:
    names = sorted({label for each in recordings for part in each.parts for label in part.actions.labels or ()})
    clips = {each.name: _clips(each, names) for each in recordings}
    mine = {label for part in own.parts for label in part.actions.labels or ()}
    alike = [each for each in recordings if each is not own and len(mine & _labels(each)) > 1]
    labelled = label_clips([clip for each in alike for clip in clips[each.name]], clips[own.name], 1)
    if labelled.too_few:
        have = f"{len(alike)} other recordings share two actions or more with it"
        return {OTHERS + end: unknown(f"{TOO_FEW}: {have}, and {LEAST_SOURCES} are needed") for end in ENDS}
    reader = train_reader(labelled.train, labelled.names, steps=config.inverse_dynamics_steps, seed=config.seed)
    read = [reader.read(clip.frames_THWC[None])[0] for clip in clips[own.name]]
    actions = [each if each is not None else np.full(0, -1) for each in labelled.held_out]
    # clips stand in for sources: of one recording alone no interval over recordings can be made
    parts = [f"{number:04d}" for number in range(len(read))]
    return accuracy_metrics(OTHERS, actions, read, parts, len(labelled.names), config, unit="clips")


def _later(own: Recording, config: EvaluationConfig) -> Metrics:
    names = sorted(_labels(own))
    place = {label: number for number, label in enumerate(names)}
    actions = [np.array([place[label] for label in part.actions.labels or ()]) for part in own.parts]
    parts = [f"{number:04d}" for number in range(len(own.parts))]
    asked_about = max(_LATER, len(own.parts) // _LATER_SHARE)
    first = slice(0, max(0, len(own.parts) - asked_about))
    frequent = frequent_actions(actions[first], parts[first], len(names))
    if frequent.sum() < 2:
        have = (
            f"{int(frequent.sum())} actions have {LEAST_TRANSITIONS} transitions in {LEAST_SOURCES} of its first clips"
        )
        return {LATER + end: unknown(f"{TOO_FEW}: {have}, and 2 are needed") for end in ENDS}
    number = np.where(frequent, np.cumsum(frequent) - 1, -1)
    train = [
        ActionClip(each, part.frames_THWC, number[taken])
        for each, part, taken in zip(parts[first], own.parts[first], actions[first], strict=True)
    ]
    kept = [name for name, enough in zip(names, frequent, strict=True) if enough]
    reader = train_reader(train, kept, steps=config.inverse_dynamics_steps, seed=config.seed)
    last = slice(len(train), None)
    read = [reader.read(part.frames_THWC[None])[0] for part in own.parts[last]]
    asked = [number[taken] for taken in actions[last]]
    return accuracy_metrics(LATER, asked, read, parts[last], len(kept), config, unit="clips")


def _clips(recording: Recording, names: Sequence[str]) -> list[HeldOutClip]:
    place = {label: number for number, label in enumerate(names)}
    return [
        HeldOutClip(
            f"{recording.name}-{part.start_ms}",
            recording.name,
            part.start_ms,
            part.frames_THWC,
            np.array([place[label] for label in part.actions.labels or ()], np.int64),
            action_names=tuple(names),
        )
        for part in recording.parts
    ]


def _labels(recording: Recording) -> set[str]:
    return {label for part in recording.parts for label in part.actions.labels or ()}
