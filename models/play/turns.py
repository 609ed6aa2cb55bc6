"""One thread computes for all players, one frame a turn.

Each player waits for the own frame before it asks for the next, so the queue of the thread is a round: with N players
who all hold a key, each gets every Nth frame. What else is computed for a player takes turns in the same queue.

    turns = Turns()
    made = await turns.take(game, game.step, action)      # `game` is whose turn it is
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")


class Turns:
    """The thread that computes, and who is next."""

    def __init__(self) -> None:
        """Start no thread yet; products run on as many threads as in the thread that calls this."""
        self._thread = ThreadPoolExecutor(1, "play", torch.set_num_threads, (torch.get_num_threads(),))
        self._locks: weakref.WeakKeyDictionary[object, asyncio.Lock] = weakref.WeakKeyDictionary()

    async def take(self, who: object, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in the thread, when it is this one's turn.

        Args:
            who: whose turn it is; one call at a time is queued for each.
            function: what is called; a turn should last no longer than a frame.
            *args: its arguments.
            **kwargs: its arguments by name.
        """
        lock = self._locks.setdefault(who, asyncio.Lock())
        async with lock:
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: function(*args, **kwargs))

    def close(self) -> None:
        """End the thread after the turn that it computes."""
        self._thread.shutdown(cancel_futures=True)
