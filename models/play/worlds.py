"""The worlds that a server plays: one from the start, and others of the store that are loaded when they are asked for.

Only a few are loaded at a time. One that nobody plays makes room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from anyio import to_thread

from models.evaluation.round_trips import ROUND_TRIPS, RoundTrips
from models.play.doubts import read_doubt
from models.play.game import Playable
from models.play.key_hints import WorldHints, hints_from
from models.play.starts.held_out import StartFrame
from models.play.starts.starts import Starts
from models.uncertainty.doubt import Doubter
from models.world.world import WorldModel
from pipeline.errors import UserError

MAX_LOADED = 2
"""Most worlds that are loaded at a time."""


@dataclass(frozen=True, eq=False)
class PlayedWorld:
    """A world with what a person must know to play it."""

    world: Playable
    starts: Starts
    hints: WorldHints
    clip: Callable[[str], np.ndarray] | None = None
    """Returns the frames of a held-out clip; None where clips cannot be read."""
    doubter: Doubter | None = None
    """Tells the doubt about each frame; None where play.doubt is off, or the world has no calibration."""
    about_doubt: Mapping[str, Any] | None = None
    """What a page shows of the calibration."""


def played_world(
    world: WorldModel,
    start_frames: Sequence[StartFrame],
    metrics: Mapping[str, Any] | None,
    clip: Callable[[str], np.ndarray] | None,
    *,
    doubt: bool,
) -> PlayedWorld:
    """Return a world with what its evaluation says of it.

    Args:
        world: the world model.
        start_frames: at least one.
        metrics: of its evaluation; None where it has none.
        clip: returns the frames of a held-out clip; None where clips cannot be read.
        doubt: whether the doubt about each frame is told, where the evaluation has a calibration.

    Raises:
        UserError: there is no start frame, or the calibration is damaged.
    """
    about, doubter = read_doubt(metrics, world.model_id) if doubt else (None, None)
    starts = Starts(world, start_frames, usual=_usual(metrics))
    return PlayedWorld(world, starts, hints_from(metrics), clip, doubter, about)


def _usual(metrics: Mapping[str, Any] | None) -> RoundTrips | None:
    """Return how well the tokenizer knows held-out frames; None where an older evaluation says nothing."""
    found = None if metrics is None else metrics.get(ROUND_TRIPS)
    return None if found is None else RoundTrips.from_json(found)


class Worlds:
    """The worlds by their id; the first one stays loaded."""

    def __init__(
        self,
        first: PlayedWorld,
        others: Mapping[str, str] | None = None,
        load: Callable[[str], PlayedWorld] | None = None,
    ) -> None:
        """Take the first world, and how others are loaded.

        Args:
            first: the world that the server was started with.
            others: id -> a few words on it.
            load: returns a world by its id; it is called in a thread.
        """
        self.first = first
        self.names = {first.world.model_id: "", **(others or {})}
        self._load, self._loaded = load, {first.world.model_id: first}
        self._lock = asyncio.Lock()

    async def get(self, model: str, in_use: Collection[str] = ()) -> PlayedWorld:
        """Return a world, and load it where it is not loaded.

        Args:
            model: its id, or empty for the first one.
            in_use: ids of the worlds that are played.

        Raises:
            UserError: there is no such world here, or too many others are played.
        """
        model = model or self.first.world.model_id
        async with self._lock:
            if model in self._loaded:
                self._loaded[model] = self._loaded.pop(model)
                return self._loaded[model]
            if model not in self.names or self._load is None:
                raise UserError(
                    f"world {model[:40]!r} is not in this store, whose worlds are {', '.join(self.names)} (`lampworks "
                    "models`): a link is played where its world is"
                )
            if len(self._loaded) >= MAX_LOADED:
                kept = {self.first.world.model_id, *in_use}
                idle = next((name for name in self._loaded if name not in kept), None)
                if idle is None:
                    raise UserError(
                        f"{MAX_LOADED} worlds are loaded and played, which is the most: try {model[:40]} again later"
                    )
                del self._loaded[idle]
            self._loaded[model] = await to_thread.run_sync(self._load, model)
            return self._loaded[model]
