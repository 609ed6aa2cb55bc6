"""What all players share: the worlds, the seats, and the thread that computes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from anyio import to_thread

from models.play.compare import Comparison, Replay, TrueFrames, inferred_actions
from models.play.doubts import note_situation
from models.play.game import Game, Made
from models.play.link import Link, Step, link_to
from models.play.live_settings import only_sampling, with_limits
from models.play.room import Room, Seat
from models.play.starts.pictures import PICTURE
from models.play.tree import Node
from models.play.turns import Turns
from models.play.worlds import PlayedWorld, Worlds
from models.uncertainty.situation_log import SituationLog
from pipeline.config import PlayConfig
from pipeline.errors import UserError


class Table:
    """What all players share."""

    def __init__(self, worlds: Worlds, config: PlayConfig, situations: SituationLog | None = None) -> None:
        """Take the worlds, the settings of play, and what writes situations that a world could only guess."""
        self.worlds, self.config, self._situations = worlds, config, situations
        self.turns = Turns()
        self.room = Room(config.max_sessions, config.keep_s)

    async def world(self, model: str) -> PlayedWorld:
        """Return a world by its id, the first one for an empty id; UserError where it cannot be played."""
        return await self.worlds.get(model, {seat.played.world.model_id for seat in self.room.seats()})

    async def begin(self, link: Link) -> tuple[PlayedWorld, Game]:
        """Return a new game, before the actions of its link, and its world.

        Raises:
            UserError: the link's world is not here, or its start is gone or is another picture now.
        """
        played = await self.world(link.world)
        world, starts = played.world, played.starts
        worst = max((step.action for step in link.steps), default=0)
        if worst >= world.num_actions:
            raise UserError(f"the link has action {worst}, and this world has the actions 0 to {world.num_actions - 1}")
        try:
            await self._bring_picture(played, link.start)
            digest = starts.digest(link.start)
            tokens = await self.turns.take(starts, starts.tokens, link.start)
        except KeyError as exc:
            raise UserError(f"start {link.start[:40]!r} is not here any more: choose another one") from exc
        if link.frame not in ("", digest):
            raise UserError(f"start {link.start} is another picture now, so the link cannot be reproduced")
        sampling = with_limits(link.sampling or only_sampling(self.config))
        history, doubter = self.config.history, played.doubter
        return played, Game(world, link.start, tokens, sampling, seed=link.seed, history=history, doubter=doubter)

    async def _bring_picture(self, played: PlayedWorld, start: str) -> None:
        """Give a world a picture that was sent to the first one; KeyError where it has none of this name either."""
        first = self.worlds.first
        if played is first or not start.startswith(PICTURE):
            return
        try:
            played.starts.frame(start)
        except KeyError:
            picture = first.starts.picture(start)
            if picture.frame_HWC.shape != played.starts.frame(played.starts.names()[0]).shape:
                raise UserError(f"picture {start[:40]} has another size than the frames of this world") from None
            await self.turns.take(played.starts, played.starts.add, picture.frame_HWC, picture.how)

    @staticmethod
    def replay(game: Game, step: Step) -> None:
        """Take a step of a link."""
        if step.sampling is not None:
            game.change(step.sampling)
        if step.anew:
            game.rest()
        game.step(step.action)

    async def compare(self, seat: Seat, way: str) -> Comparison | None:
        """Return what stands beside a game; None for the way `none`.

        Raises:
            UserError: the start is no frame of a clip, or the clip cannot be read any more.
        """
        if way == "none":
            return None
        game, played = seat.game, seat.played
        start = played.starts.held_out(game.start)
        if start is None or start.index is None or played.clip is None:
            raise UserError(f"start {game.start} is not a frame of a clip, so there is nothing to compare with")
        frames = (await to_thread.run_sync(played.clip, start.clip_id))[start.index :]
        if not np.array_equal(frames[:1], start.frame_HWC[None]):
            raise UserError(f"start {game.start} is not in its clip any more, so there is nothing to compare with")
        if way == "true":
            return TrueFrames(frames)
        actions = await to_thread.run_sync(inferred_actions, played.world, frames)
        tokens = await self.turns.take(played.starts, played.starts.tokens, game.start)
        return Replay(played.world, game.start, tokens, actions, game.sampling, game.seed)

    def note(self, seat: Seat, made: Made) -> None:
        """Note a frame at which a world begins to guess."""
        if self._situations is not None:

            def link() -> str | None:
                return self.link_fields(seat, made.node)["link"]

            note_situation(self._situations, seat.name, seat.game, made, seat.played.starts, link)

    def link_fields(self, seat: Seat, last: Node) -> dict[str, Any]:
        """Return the link to a frame, or why there is none."""
        game = seat.game
        try:
            link = link_to(
                game.tree.path(last),
                start=game.start,
                seed=game.seed,
                world=game.world.model_id,
                frame=seat.played.starts.digest(game.start),
                now=game.sampling,
            )
            return {"link": link.text()}
        except UserError as exc:
            return {"link": None, "why": str(exc)}
        except KeyError:
            return {"link": None, "why": f"the start {game.start} is not here any more"}

    async def leave(self, seat: Seat, leave: Callable[[], None]) -> None:
        """Keep the game of a lost connection for a while, without the caches of its rollout."""
        self.room.lose(seat, leave)
        if seat.leave is None:
            asyncio.get_running_loop().call_later(self.room.keep_s + 1, self.room.sweep)
            await self.turns.take(seat.game, seat.game.rest)
