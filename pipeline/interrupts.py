"""Whether this process was asked to end (SIGTERM, Ctrl-C), also where the exception of the signal's handler was lost.

A handler raises in whatever code is running. Some of that keeps all exceptions to itself (an import that is tried, an
attribute that is set in a class that is being made), and Dagster's own handlers forget a signal that arrives as a run
begins or ends. So signals are noted beside their handlers, and long work asks between two of its steps.

    with noted_signals():
        work()                  # KeyboardInterrupt, where a signal arrives
        end_if_asked()          # KeyboardInterrupt, where one has arrived and work went on
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_NUMBERS = (signal.SIGTERM, signal.SIGINT)
_NOTHING = -1
_AT_ONCE = 64


class _Noted:
    """The signals that arrived since a block began."""

    def __init__(self) -> None:
        # Python writes each signal's number there, whoever handles it at that time
        self.read, self.write = socket.socketpair()
        self.read.setblocking(False)
        self.write.setblocking(False)
        self.asked = False

    def look(self) -> bool:
        """Return whether one of the signals arrived."""
        with suppress(BlockingIOError):
            while not self.asked and (found := self.read.recv(_AT_ONCE)):
                self.asked = any(number in found for number in _NUMBERS)
        return self.asked

    def close(self) -> None:
        """Close both ends."""
        self.read.close()
        self.write.close()


_blocks: list[_Noted] = []


@contextmanager
def noted_signals() -> Iterator[None]:
    """Inside the block, raise KeyboardInterrupt where a signal arrives, and note it.

    An error of the block after a signal becomes KeyboardInterrupt too: it may be what the interrupt was turned into. In
    another thread than the main one, signals are not this block's to handle.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted = _Noted()
    before_fd = signal.set_wakeup_fd(noted.write.fileno(), warn_on_full_buffer=False)
    # a shell ignores Ctrl-C for a process in the background; a signal that arrives all the same is meant
    before = {number: signal.signal(number, _interrupt) for number in _NUMBERS}
    _blocks.append(noted)
    try:
        yield
    except Exception as exc:
        if noted.look():
            raise KeyboardInterrupt from exc
        raise
    finally:
        _blocks.remove(noted)
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before_fd)
        noted.close()


def asked_to_end() -> bool:
    """Return whether a signal arrived in the block of `noted_signals` that this is called in; False outside of one."""
    return bool(_blocks) and _blocks[-1].look()


def end_if_asked() -> None:
    """Raise KeyboardInterrupt where a signal has arrived."""
    if asked_to_end():
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _forget() -> None:
    """In a forked process, leave the signals to it: they are not those of the process that it is a copy of."""
    if _blocks:
        _blocks.clear()
        signal.set_wakeup_fd(_NOTHING)


os.register_at_fork(after_in_child=_forget)
