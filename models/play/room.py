"""The players' seats: who plays, whose game waits for a lost connection, and who finds no place.

All methods are called on the event loop's thread.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from models.play.game import Game
from models.play.worlds import PlayedWorld


class RoomFull(Exception):  # noqa: N818 - a state, not a fault
    """There is no seat free; the message is a sentence."""


class Seat:
    """A game with its id, and whether a connection plays it."""

    def __init__(self, game: Game, played: PlayedWorld) -> None:
        """Seat a game of a world, without a connection yet."""
        self.game, self.played, self.name = game, played, secrets.token_urlsafe(18)
        self.left_at: float | None = None
        """When its connection was lost; None while there is one."""
        self.leave: Callable[[], None] | None = None
        """Ends the connection that plays it."""


class Room:
    """The seats."""

    def __init__(self, max_seats: int, keep_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Open the room.

        Args:
            max_seats: most games at a time.
            keep_s: seconds for which a game without a connection is kept.
            clock: seconds.
        """
        self.max_seats, self.keep_s, self._clock = max_seats, keep_s, clock
        self._seats: dict[str, Seat] = {}

    def seats(self) -> list[Seat]:
        """Return the seats that are taken."""
        self.sweep()
        return list(self._seats.values())

    def check_free(self) -> None:
        """Raise RoomFull where no seat is free and none can be freed."""
        self.sweep()
        if len(self._seats) >= self.max_seats and not self._waiting():
            raise RoomFull(
                f"{self.max_seats} players are here already (play.max_sessions): close a page, or try again later"
            )

    def sit(self, game: Game, played: PlayedWorld, leave: Callable[[], None]) -> Seat:
        """Seat a new game; a game that waits for its connection the longest makes room. RoomFull: none does."""
        self.check_free()
        if len(self._seats) >= self.max_seats:
            del self._seats[self._waiting()[0].name]
        seat = Seat(game, played)
        seat.leave = leave
        self._seats[seat.name] = seat
        return seat

    def find(self, name: str) -> Seat | None:
        """Return the seat of a game; None where the game is not here."""
        self.sweep()
        return self._seats.get(name)

    def come_back(self, name: str, leave: Callable[[], None]) -> Seat | None:
        """Give a game a new connection, and end the one that it has; None where the game is not here."""
        seat = self.find(name)
        if seat is None:
            return None
        if seat.leave is not None:
            seat.leave()
        seat.leave, seat.left_at = leave, None
        return seat

    def lose(self, seat: Seat, leave: Callable[[], None]) -> None:
        """Note that a connection is lost; its game is kept for a while, unless another connection has it."""
        if seat.leave == leave:
            seat.leave, seat.left_at = None, self._clock()

    def drop(self, seat: Seat) -> None:
        """Forget a game."""
        self._seats.pop(seat.name, None)

    def _waiting(self) -> list[Seat]:
        found = [seat for seat in self._seats.values() if seat.left_at is not None]
        return sorted(found, key=lambda seat: seat.left_at or 0.0)

    def sweep(self) -> None:
        """Forget the games that waited too long."""
        now = self._clock()
        for seat in self._waiting():
            if seat.left_at is not None and now - seat.left_at > self.keep_s:
                self.drop(seat)
