"""End what `lampworks ui` started: every process that Dagster starts, its code servers and runs included.

Dagster's processes start others, which outlive those that started them when these are killed. But all inherit the
environment, and with it the mark of the root's home (`assets.passes.lock.HELD`). So they are found by the mark.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import psutil

from assets.passes.lock import marked_processes
from pipeline.storage.home import Home

PATIENCE_S = 5.0
"""Time in which a process that is asked to end does so, a run that is at work included."""


def python_command(module: str, call: str) -> list[str]:
    """Return the command line of a Python that imports from where this one does, and calls a function of a module."""
    # not by `-m`: that would import from the folder it runs in, which may be a root with a folder `dagster` in it
    path = [str(Path(entry).absolute()) for entry in sys.path]
    function = call.partition("(")[0]
    return [sys.executable, "-c", f"from sys import path; path[:] = {path!r}; from {module} import {function}; {call}"]


def end_marked(home: Home, patience_s: float = PATIENCE_S) -> None:
    """End the processes that a `lampworks ui` on a home started, this one excepted: asked first, then killed."""
    end_all(lambda: marked_processes(home), patience_s)


def end_all(living: Callable[[], Collection[psutil.Process]], patience_s: float) -> None:
    """End all processes that a function finds alive: asked first, killed after a time."""
    asked: set[psutil.Process] = set()
    end = time.monotonic() + patience_s
    # what is started while others end has the mark too: look until there is none
    while alive := living():
        is_late = time.monotonic() > end
        for process in alive:
            with suppress(psutil.Error):
                if is_late:
                    process.kill()
                elif process not in asked:
                    process.terminate()
                    asked.add(process)
        time.sleep(0.05)


def end_with(life: socket.socket, home: Home) -> threading.Event:
    """From now on, end this process and all that it started when the other end of a socket closes.

    The other end is in the process that must not be outlived: it closes however that process ends. Several processes
    may hold this end: where one of them is killed too, another ends the rest.

    Returns:
        Set once that is so.
    """
    closed = threading.Event()

    def wait() -> None:
        with suppress(OSError):
            life.recv(1)
        closed.set()
        end_marked(home)
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="end with the command").start()
    return closed


def repeat(action: Callable[[], object], every_s: float, stopped: threading.Event) -> threading.Thread:
    """Start a thread that repeats an action until it is stopped, and return it."""

    def work() -> None:
        while not stopped.wait(every_s):
            action()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
