"""One worker process of the local engine: it takes an item, calls the function, sends back what came of it.

It is started as a plain interpreter, not by `multiprocessing`, so the caller's main module is not imported again
and nothing is forked from a process that has threads. Only the standard library is imported before the work itself.
A worker that loses its parent, by whatever death, ends at once and takes its children (ffmpeg) with it.

Items and answers are pickled, as in the standard library's pools: the other end of the socket pair is the process that
started this one, and nothing of it reaches a disk or a network.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

READY, FAILED_START = "ready", "failed to start"
NUMBER_BYTES = 8
"""Every item and its answer begin with the item's number."""


def serve(task_fd: int, life_fd: int) -> None:
    """Answer items on one socket until it closes; end when the parent's end of the other closes."""
    for fd in (task_fd, life_fd):
        os.set_inheritable(fd, False)
    # Ctrl-C is the parent's to handle: it closes its workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(life_fd,), daemon=True).start()
    connection = Connection(task_fd)
    try:
        prepared = _prepared(connection)
        if prepared is not None:
            _serve_all(connection, *prepared)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent has closed its end: no more items
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _serve_all(connection: Connection, work: Callable[[Any], Any], threads: int) -> None:
    if threads == 1:  # in the main thread: some libraries ask for it
        while True:
            message = connection.recv_bytes()
            connection.send_bytes(message[:NUMBER_BYTES] + _answer(work, message[NUMBER_BYTES:]))
    sending = threading.Lock()

    def answer(message: bytes) -> None:
        said = message[:NUMBER_BYTES] + _answer(work, message[NUMBER_BYTES:])
        with sending, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.send_bytes(said)

    with ThreadPoolExecutor(threads) as pool:
        while True:
            pool.submit(answer, connection.recv_bytes())


def _prepared(connection: Connection) -> tuple[Callable[[Any], Any], int] | None:
    payload = connection.recv_bytes()
    try:
        function, initializer, threads = pickle.loads(payload)
        if initializer is not None:
            initializer()
    except BaseException:
        connection.send_bytes(pickle.dumps((FAILED_START, traceback.format_exc())))
        return None
    connection.send_bytes(pickle.dumps((READY, os.getpid())))
    return function, threads


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
