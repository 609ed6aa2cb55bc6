"""The program of a worker process: receive an item, call the function, send back the result.

It is started as a plain interpreter, not by `multiprocessing`, so the caller's main module is not imported again
and nothing is forked from a process that has threads. Only the standard library is imported before the work itself.
A worker whose parent dies, in whatever way, ends at once together with its children (ffmpeg).

Items and answers are pickled, as in the standard library's pools: the other end of the socket pair is the process that
started this one, and no pickle is written to disk or sent over a network.
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

from pipeline.usage import take_unsent
from pipeline.workers.outcome import OUT_OF_MEMORY

READY, FAILED_START = "ready", "failed to start"
NUMBER_BYTES = 8
"""Each item and its answer begin with the item's number, in this many bytes."""


def serve(task_fd: int, life_fd: int) -> None:
    """Answer the items that come through one socket until it closes; end when the parent's end of the other closes."""
    for fd in (task_fd, life_fd):
        os.set_inheritable(fd, False)
    # the parent handles Ctrl-C and then closes its workers
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
    if threads == 1:  # in the main thread: some libraries work nowhere else
        while True:
            message = connection.recv_bytes()
            connection.send_bytes(message[:NUMBER_BYTES] + _answer(work, message[NUMBER_BYTES:]))
    send_lock = threading.Lock()

    def answer(message: bytes) -> None:
        result = message[:NUMBER_BYTES] + _answer(work, message[NUMBER_BYTES:])
        with send_lock, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.send_bytes(result)

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
    """Return (ok, value, error class, message, usage) as bytes, whatever the function raises or returns.

    The value is pickled by itself, so that a process between this one and the caller need not open it.
    """
    try:
        value = pickle.dumps(work(pickle.loads(payload)))
        return pickle.dumps((True, value, "", "", take_unsent()))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # only the text is sent: many exceptions cannot be pickled, and some cannot be unpickled
        name = getattr(error, "error_class", None)
        if not isinstance(name, str):
            name = OUT_OF_MEMORY if isinstance(error, MemoryError) else type(error).__name__
        return pickle.dumps((False, None, name, _text(error), take_unsent()))


def _text(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception as broken:  # its __str__ raises
        return f"{type(error).__name__} ({type(broken).__name__} in its text)"


def _end_with_parent(life_fd: int) -> None:
    os.read(life_fd, 1)
    os.killpg(os.getpid(), signal.SIGKILL)
