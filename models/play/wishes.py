"""What a player wants, as its messages said: keys that are down, presses that wait, and orders to carry out.

Orders are carried out before presses. One that moves the game elsewhere forgets the keys that came before it, and none
of those that come after it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from models.play.live_settings import MAX_FPS, MIN_FPS
from models.play.messages import BadMessageError, Message

MAX_PRESSES = 12
"""Most presses that wait for their frame."""
MAX_UNSHOWN = 2
"""Most frames that the page has not acknowledged."""
MAX_ORDERS = 16
"""Most orders that wait."""
MOVES = frozenset({"start", "resume", "rewind", "go"})
"""Orders that move the game elsewhere."""
ORDERS = MOVES | {"settings", "compare"}


@dataclass(frozen=True)
class Press:
    """A key that was pressed, or is held."""

    action: int
    n: int | None
    """The page's number of the press."""
    at: float
    """When it came, in seconds of `time.perf_counter`."""


class Wishes:
    """What one player wants."""

    def __init__(self, fps: float) -> None:
        """Want nothing yet; holds repeat `fps` times a second."""
        self.fps = fps
        self.num_actions: int | None = None
        """Actions of the world that is played; None while no game is."""
        self.orders: deque[Message] = deque()
        self.errors: deque[dict[str, Any]] = deque(maxlen=MAX_ORDERS)
        """Messages that say what was refused."""
        self.changed = asyncio.Event()
        self.paused = False
        """Whether the player asked for a pause, and was not answered yet."""
        self._presses: deque[Press] = deque()
        self._holds: list[Press] = []
        self._unshown: deque[int] = deque()
        self._next_held = 0.0

    # -- noted by the reader --------------------------------------------------------------------------------------

    def note(self, message: Message) -> None:
        """Note a message of the page; BadMessageError says what is wrong with it."""
        kind = message.type
        if kind == "ack":
            self._acknowledge(message.whole("node"))
        elif kind in ("act", "hold"):
            self._press(message, hold=kind == "hold")
        elif kind == "release":
            n = message.press()
            self._holds = [] if n is None else [hold for hold in self._holds if hold.n != n]
        elif kind == "pause":
            self._forget_keys()
            self.paused = True
        elif kind == "speed":
            self.fps = message.number("fps", low=MIN_FPS, high=MAX_FPS)
        elif kind in ORDERS:
            if kind in MOVES:
                self._forget_keys()
            if len(self.orders) >= MAX_ORDERS:
                raise BadMessageError(f"{MAX_ORDERS} messages wait already: this one ({kind}) was left out")
            self.orders.append(message)
        else:
            raise BadMessageError(f"type = {kind[:80]!r}: there is no such message")
        self.changed.set()

    def refuse(self, error: str, n: int | None = None) -> None:
        """Tell the player that a message was refused, by the number of its press where it is one."""
        self.errors.append({"type": "error", "error": error, "fatal": False, **({} if n is None else {"n": n})})
        self.changed.set()

    def _press(self, message: Message, *, hold: bool) -> None:
        if self.num_actions is None:
            raise BadMessageError("no game was started on this connection: send `start` first")
        press = Press(message.whole("action", high=self.num_actions - 1), message.press(), time.perf_counter())
        if hold:
            self._holds = [*self._holds[1 - MAX_PRESSES :], press]
        if len(self._presses) >= MAX_PRESSES:
            self.refuse(f"{MAX_PRESSES} presses wait already: this one was left out", press.n)
        else:
            self._presses.append(press)

    def _forget_keys(self) -> None:
        self._holds, self._presses = [], deque()

    def _acknowledge(self, node: int) -> None:
        while node in self._unshown and self._unshown.popleft() != node:
            pass

    # -- asked by the player --------------------------------------------------------------------------------------

    @property
    def starts_again(self) -> bool:
        """Whether another game is asked for."""
        return any(order.type in ("start", "resume") for order in self.orders)

    def sent(self, node: int) -> None:
        """Note that a frame was sent."""
        self._unshown.append(node)
        if len(self._unshown) > 4 * MAX_ORDERS:  # a page that only goes to and fro, and acknowledges nothing
            self._unshown.popleft()

    def next_press(self) -> Press | float | None:
        """Return the next press to answer; or the seconds until one is due; or None where none is wanted."""
        if len(self._unshown) >= MAX_UNSHOWN:
            return None
        now = time.perf_counter()
        if self._presses:
            found = self._presses.popleft()
        elif not self._holds:
            return None
        elif self._next_held > now:
            return self._next_held - now
        else:
            found = Press(self._holds[-1].action, self._holds[-1].n, now)
        # from the time at which it was due, so that the pace is kept; a pause is not made up for
        self._next_held = max(self._next_held + 1 / self.fps, now + 0.5 / self.fps)
        return found
