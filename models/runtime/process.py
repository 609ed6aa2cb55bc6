"""Let a process end with the one that started it (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal

_SET_PARENT_DEATH_SIGNAL = 1  # of prctl.h


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """Have this process receive a signal when its parent ends, however that ends; elsewhere than on Linux, do nothing.

    Without it, processes whose parent was killed would go on training beside those that took their place.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        parent = os.getppid()
        prctl(_SET_PARENT_DEATH_SIGNAL, number)
        if os.getppid() != parent:
            os.kill(os.getpid(), number)
