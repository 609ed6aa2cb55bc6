"""Stop a training between two steps when its process is asked to end: SIGTERM, Ctrl-C, Terminate in Dagster.

    with stops_between_steps() as stop:
        for step in steps:
            ...
            if stop.asked:
                save()
                stop.leave()      # what the signal would have done at once

An interrupt in the middle of a step leaves weights that no checkpoint may hold. So the first signal is only noted; a
second one ends the step at once, without a save.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from pipeline.interrupts import asked_to_end

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Whether the process was asked to end."""

    def __init__(self) -> None:
        self.number: signal.Signals | None = None
        """The signal; None while there was none."""
        self.before: dict[signal.Signals, Any] = {}
        """What handled the signals before, and does so again at the end."""

    @property
    def asked(self) -> bool:
        """Tell whether the process was asked to end, here or before, where the exception was lost on the way."""
        return self.number is not None or asked_to_end()

    @property
    def name(self) -> str:
        """Return the name of the signal; where another process of the group got it, of the usual one."""
        return (self.number or signal.SIGTERM).name

    def note(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; at the second one leave."""
        if self.number is not None:
            self.leave(frame)
        self.number = signal.Signals(number)

    def leave(self, frame: FrameType | None = None) -> NoReturn:
        """Do what the signal would have done without this module; where that does not leave, exit."""
        number = self.number or signal.SIGTERM
        handler: Callable[[int, FrameType | None], object] | Any = self.before.get(number)
        if callable(handler):
            handler(number, frame)
        raise SystemExit(128 + number)


@contextmanager
def stops_between_steps() -> Iterator[Stop]:
    """Yield what tells whether the process was asked to end; the signals do nothing else inside the block.

    A signal that is ignored stays so. In another thread than the main one, signals are not this block's to handle.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    try:
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if before is not None and before != signal.SIG_IGN:
                stop.before[number] = before
                signal.signal(number, stop.note)
        yield stop
    finally:
        for number, handler in stop.before.items():
            signal.signal(number, handler)
