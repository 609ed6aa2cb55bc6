"""What was really played in a recording: its ratings by span, and true actions and states where it is our platformer.

A sidecar beside the recordings that no stage of the data path reads. In the demo the ratings stand in for a person's
labels (annotator `arcade`), and evaluation compares latent actions with the true ones; training sees neither.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.arcade.catalog import BUNDLED, DUPLICATES, GOOD, MIRRORED, Recording
from pipeline.arcade.platformer import ACTIONS, Level, State, advance, draw, first_state, make_level, platformer_actions
from pipeline.arcade.platformer_art import Picture
from pipeline.arcade.scenes import INTRO_SHARE
from pipeline.storage.home import Home

ACTIONS_FPS = 10
"""`actions[k]` is held between the frames at k / 10 s and (k + 1) / 10 s."""
DIRECTIONS = np.array([name.endswith("right") - name.endswith("left") for name in ACTIONS], np.int8)
"""-1, 0 or 1 for each action: which way it runs."""
_MIRROR = {"left": "right", "right": "left"}
_MIRRORED = np.array(
    [ACTIONS.index("-".join(_MIRROR.get(part, part) for part in name.split("-"))) for name in ACTIONS], np.int8
)


@dataclass(frozen=True)
class Truth:
    """The truth of one recording."""

    native_id: str
    kind: str
    seconds: float
    spans: tuple[tuple[float, float, int], ...]
    """(start, end, rating 1..5), seconds, without gaps."""
    actions: npt.NDArray[np.int8] | None
    """Indices into `ACTIONS` at 10 FPS, or None where it is not our platformer."""
    fingerprint: str
    """The recording that it belongs to."""
    seed: int | None = None
    """Seed of level and player where it is our platformer; None too in a file that an older version wrote."""

    @property
    def mirrored(self) -> bool:
        """Tell whether the recording shows the game with left and right exchanged."""
        return self.kind == MIRRORED

    @property
    def directions(self) -> npt.NDArray[np.int8] | None:
        """Return -1 (left), 0 or 1 (right) per action."""
        return None if self.actions is None else DIRECTIONS[self.actions]

    def rating(self, start_s: float, end_s: float) -> int | None:
        """Return the rating of a part: the mean of its seconds, 1 and 5 only for pure ones; None outside."""
        seconds = ratings = 0.0
        for start, end, rating in self.spans:
            overlap = min(end, end_s) - max(start, start_s)
            if overlap > 0:
                seconds, ratings = seconds + overlap, ratings + overlap * rating
        # a container may claim a few frames more than were recorded
        if end_s <= start_s or seconds < 0.9 * (end_s - start_s):
            return None
        mean = ratings / seconds
        return round(mean) if mean < 1.1 or mean > 4.9 else min(max(round(mean), 2), 4)


def truth_of(recording: Recording) -> Truth:
    """Return the truth of a recording, from its description alone."""
    return Truth(
        recording.native_id,
        recording.kind,
        recording.seconds,
        _spans(recording),
        _actions(recording),
        recording.fingerprint,
        recording.seed if recording.kind in (GOOD, *DUPLICATES) else None,
    )


@dataclass(frozen=True, eq=False)
class TrueStates:
    """The game behind a recording, or a part of it: state k is shown k / 10 s after its start."""

    level: Level
    states: tuple[State, ...]
    mirrored: bool
    """Whether the recording shows the game with left and right exchanged."""

    def part(self, start: int, count: int) -> TrueStates | None:
        """Return `count` states from one on; None where the recording has fewer."""
        states = self.states[start : start + count]
        return TrueStates(self.level, states, self.mirrored) if len(states) == count else None

    def held(self, start: int, action: int, count: int) -> TrueStates:
        """Return a state and the `count` states after it under one action, named as the recording shows it."""
        played = int(_MIRRORED[action]) if self.mirrored else action
        states = [self.states[start]]
        for _ in range(count):
            states.append(advance(self.level, states[-1], played))
        return TrueStates(self.level, tuple(states), self.mirrored)

    def played(self, index: int) -> Picture:
        """Return the frame (90, 160, 3), uint8, of a state as it was played: never mirrored, and before encoding."""
        return draw(self.level, self.states[index], self.states[index], 0.0)

    def shown(self, index: int) -> Picture:
        """Return the frame of a state as the recording shows it."""
        return self.played(index)[:, ::-1] if self.mirrored else self.played(index)


def true_states(truth: Truth) -> TrueStates | None:
    """Return the states of a recording, from its seed and actions; None where it is not our platformer."""
    if truth.seed is None or truth.actions is None:
        return None
    level = make_level(truth.seed)
    states = [first_state(level)]
    for action in mirrored_actions(truth.actions) if truth.mirrored else truth.actions:
        states.append(advance(level, states[-1], int(action)))
    return TrueStates(level, tuple(states), truth.mirrored)


def mirrored_actions(actions: npt.NDArray[np.int8] | npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
    """Return actions with left and right exchanged."""
    return _MIRRORED[actions]


def truth_path(folder: Path, native_id: str) -> Path:
    """Return where an arcade folder keeps a recording's truth."""
    return folder / "truth" / f"{native_id}.json"


def write_truth(folder: Path, truth: Truth) -> None:
    """Write a recording's truth, atomically."""
    path = truth_path(folder, truth.native_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {
        "native_id": truth.native_id,
        "kind": truth.kind,
        "seconds": truth.seconds,
        "spans": [list(span) for span in truth.spans],
        "action_names": list(ACTIONS),
        "actions_fps": ACTIONS_FPS,
        "actions": None if truth.actions is None else truth.actions.tolist(),
        "fingerprint": truth.fingerprint,
        "seed": truth.seed,
        "mirrored": truth.mirrored,
    }
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_text(json.dumps(values) + "\n", "utf-8")
    temporary.replace(path)


def read_truth(folder: Path, native_id: str) -> Truth | None:
    """Return a recording's truth from an arcade folder, or None if it has none."""
    try:
        values = json.loads(truth_path(folder, native_id).read_text("utf-8"))
        actions = values["actions"]
        return Truth(
            values["native_id"],
            values["kind"],
            values["seconds"],
            tuple((float(start), float(end), int(rating)) for start, end, rating in values["spans"]),
            None if actions is None else np.array(actions, np.int8),
            values["fingerprint"],
            None if values.get("seed") is None else int(values["seed"]),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None  # a damaged file counts as none: it is recorded again


def load_truth(home: Home, native_id: str) -> Truth | None:
    """Return the truth of a video of the embedded source, or None if this home has not recorded it."""
    return read_truth(home.arcade, native_id)


def _spans(recording: Recording) -> tuple[tuple[float, float, int], ...]:
    end = recording.seconds
    if recording.kind == "black_intro":
        intro = int(recording.num_frames * INTRO_SHARE) / recording.fps
        return ((0.0, intro, 1), (intro, end, 5))
    if recording.kind in (GOOD, *DUPLICATES):
        return ((0.0, end, 5),)
    if recording.kind in BUNDLED:
        return ((0.0, end, 4),)
    return ((0.0, end, 2 if recording.kind == "montage" else 1),)


def _actions(recording: Recording) -> npt.NDArray[np.int8] | None:
    if recording.kind not in (GOOD, *DUPLICATES):
        return None
    actions = platformer_actions(recording.seed, round(recording.seconds * ACTIONS_FPS))
    return mirrored_actions(actions) if recording.kind == MIRRORED else actions
