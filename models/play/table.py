"""What all players share: the world, its starts, the seats, and the thread that computes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models.play.game import Game, Playable
from models.play.key_hints import WorldHints
from models.play.link import Link, Step, link_to
from models.play.live_settings import only_sampling, with_limits
from models.play.room import Room, Seat
from models.play.starts.starts import Starts
from models.play.tree import Node
from models.play.turns import Turns
from pipeline.config import PlayConfig
from pipeline.errors import UserError


@dataclass(frozen=True, eq=False)
class PlayedWorld:
    """A world with what a person must know to play it."""

    world: Playable
    starts: Starts
    hints: WorldHints


class Table:
    """What all players share."""

    def __init__(self, played: PlayedWorld, config: PlayConfig) -> None:
        """Take a world and the settings of play."""
        self.played, self.config = played, config
        self.turns = Turns()
        self.room = Room(config.max_sessions, config.keep_s)

    async def begin(self, link: Link) -> Game:
        """Return a new game, before the actions of its link.

        Raises:
            UserError: the link is of another world, or its start is gone, or is another picture now.
        """
        world, starts = self.played.world, self.played.starts
        if link.world not in ("", world.model_id):
            raise UserError(
                f"this link is of world {link.world[:40]}, and this server plays {world.model_id}: open it with "
                f"`lampworks play --model {link.world[:40]}`"
            )
        for step in link.steps:
            if step.action >= world.num_actions:
                raise UserError(f"the link has action {step.action}, and this world has {world.num_actions}")
        try:
            digest = starts.digest(link.start)
            tokens = await self.turns.take(starts, starts.tokens, link.start)
        except KeyError as exc:
            raise UserError(f"start {link.start[:40]!r} is not here any more: choose another one") from exc
        if link.frame not in ("", digest):
            raise UserError(f"start {link.start} is another picture now: the link cannot be reproduced")
        sampling = with_limits(link.sampling or only_sampling(self.config))
        return Game(world, link.start, tokens, sampling, seed=link.seed, history=self.config.history)

    @staticmethod
    def replay(game: Game, step: Step) -> None:
        """Take a step of a link."""
        if step.sampling is not None:
            game.change(with_limits(step.sampling))
        if step.anew:
            game.rest()
        game.step(step.action)

    def link_fields(self, game: Game, last: Node) -> dict[str, Any]:
        """Return the link to a frame, or why there is none."""
        try:
            link = link_to(
                game.tree.path(last),
                start=game.start,
                seed=game.seed,
                world=game.world.model_id,
                frame=self.played.starts.digest(game.start),
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
            await self.turns.take(seat.game, seat.game.rest)
            asyncio.get_running_loop().call_later(self.room.keep_s + 1, self.room.sweep)
