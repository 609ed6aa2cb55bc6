"""One worker process of the local engine: it takes an item, calls the function, sends back what came of it.

It is started as a plain interpreter, not by `multiprocessing`, so the caller's main module is not imported again
and nothing is forked from a process that has threads. Only the standard library is imported before the work itself.
A worker that loses its parent, by whatever death, ends at once and takes its children (ffmpeg) with it.

Items and answers are pickled, as in the standard library's pools: the other end of the socket pair is the process that
started this one, and nothing of it reaches a disk or a network.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

READY, FAILED_START = "ready", "failed to start"


def serve(task_fd: int, life_fd: int) -> None:
    """Answer items on one socket until it closes; end when the parent's end of the other closes."""
    for fd in (task_fd, life_fd):
        os.set_inheritable(fd, False)
    # Ctrl-C is the parent's to handle: it closes its workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(life_fd,), daemon=True).start()
    connection = Connection(task_fd)
    try:
        work = _prepared(connection)
        while work is not None:
            connection.send_bytes(_answer(work, connection.recv_bytes()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent has closed its end: no more items
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _prepared(connection: Connection) -> Callable[[Any], Any] | None:
    payload = connection.recv_bytes()
    try:
        function, initializer = pickle.loads(payload)
        if initializer is not None:
            initializer()
    except BaseException:
        connection.send_bytes(pickle.dumps((FAILED_START, traceback.format_exc())))
        return None
    connection.send_bytes(pickle.dumps((READY, os.getpid())))
    work: Callable[[Any], Any] = function
    return work


def _answer(work: Callable[[Any], Any], payload: bytes) -> bytes:
    """Return (ok, value, error class, message) as bytes, whatever the function raises or returns."""
    try:
        return pickle.dumps((True, work(pickle.loads(payload)), "", ""))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # the exception itself stays here: many cannot be pickled, and some cannot be unpickled
        name = getattr(error, "error_class", None)
        if not isinstance(name, str):
            name = type(error).__name__
        return pickle.dumps((False, None, name, _text(error)))


def _text(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception as broken:  # an exception whose own text raises
        return f"{type(error).__name__} ({type(broken).__name__} in its text)"


def _end_with_parent(life_fd: int) -> None:
    os.read(life_fd, 1)
    os.killpg(os.getpid(), signal.SIGKILL)
