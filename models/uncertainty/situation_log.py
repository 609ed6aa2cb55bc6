"""Write situations that a world had not seen to the store, while it is played, without keeping anyone waiting.

A game notes a situation, which costs nothing. A thread writes what was noted, in batches: it looks for clips that look
alike, and commits once. What cannot be written is told and dropped; the game goes on. At most so many situations of one
game, and so many in an hour, are taken.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from deltalake.exceptions import DeltaError

from pipeline.config import PlayConfig
from pipeline.errors import PermanentError, RetryableError, StoreError, UserError
from pipeline.storage.store import Store
from pipeline.uncovered import Nearest, Situation, record_situations

_BATCH = 16
"""Situations that are written at once, before their time."""
_BATCH_S = 20.0
"""Seconds for which a situation waits for others."""
_HOUR_S = 3600.0
_MOST_GAMES = 1000
"""Games whose situations are counted; an older one begins anew."""


class SituationLog:
    """Situations that wait to be written, and the thread that writes them."""

    def __init__(
        self,
        store: Store,
        config: PlayConfig,
        nearest: Nearest,
        *,
        report: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
        batch_s: float = _BATCH_S,
    ) -> None:
        """Start no thread yet.

        Args:
            store: where they go.
            config: the limits.
            nearest: finds the clips that look like them; called in the thread.
            report: gets a sentence where they cannot be written.
            clock: seconds.
            batch_s: seconds for which a situation waits for others.
        """
        self._store, self._config, self._nearest, self._report = store, config, nearest, report
        self._clock, self._batch_s = clock, batch_s
        self._waiting: list[Situation] = []
        self._of_game: OrderedDict[str, int] = OrderedDict()
        self._times: deque[float] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def wants(self, game: str) -> bool:
        """Tell whether a situation of a game would be taken."""
        now = self._clock()
        with self._wake:
            while self._times and now - self._times[0] >= _HOUR_S:
                self._times.popleft()
            return (
                not self._closed
                and len(self._times) < self._config.uncovered_per_hour
                and self._of_game.get(game, 0) < self._config.uncovered_per_game
            )

    def note(self, game: str, situation: Situation) -> bool:
        """Take a situation of a game, and return at once; False where it is one too many."""
        if not self.wants(game):
            return False
        with self._wake:
            self._of_game[game] = self._of_game.pop(game, 0) + 1
            if len(self._of_game) > _MOST_GAMES:
                self._of_game.popitem(last=False)
            self._times.append(self._clock())
            self._waiting.append(situation)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="uncovered", daemon=True)
                self._thread.start()
            if len(self._waiting) >= _BATCH:
                self._wake.notify()
        return True

    def close(self, wait_s: float = 10.0) -> None:
        """Write what waits, and end the thread; what takes longer than `wait_s` is lost."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(wait_s)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closed or len(self._waiting) >= _BATCH, self._batch_s)
                batch, self._waiting = self._waiting, []
                ends = self._closed
            if batch:
                self._write(batch)
            if ends:
                return

    def _write(self, batch: list[Situation]) -> None:
        try:
            record_situations(self._store, batch, self._nearest)
        except (OSError, StoreError, UserError, PermanentError, RetryableError, DeltaError) as error:
            self._report(
                f"{len(batch)} situations were not written to the table `uncovered`: {str(error).splitlines()[0]}"
            )
