"""What the engine's tests run in workers: functions that behave, die, hang, and raise what cannot be pickled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pipeline.errors import StoreError


def double(item: int) -> int:
    return 2 * item


def environment(item: int) -> tuple[str, bool, bool]:
    return os.environ["OMP_NUM_THREADS"], "dagster" in sys.modules, "torch" in sys.modules


_MEETING = threading.Barrier(4)


def meet_three_others(item: int) -> int:
    _MEETING.wait(15)
    return item


def die_once(item: int, folder: str) -> int:
    mark = Path(folder) / "died"
    if item == 7 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def die_always_on_seven(item: int) -> int:
    if item == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def die_while_answering(item: int, folder: str) -> bytes:
    if item == 7:
        mark = Path(folder) / "pid"
        if mark.exists():
            os.kill(os.getpid(), signal.SIGKILL)
        mark.with_suffix(".tmp").write_text(str(os.getpid()))
        mark.with_suffix(".tmp").replace(mark)
        while not (Path(folder) / "go").exists():
            time.sleep(0.01)
        # the answer is far larger than a socket's buffer, so the alarm finds the worker in the middle of it
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        return bytes(20_000_000)
    return bytes(100)


def hang_on_seven(item: int, folder: str) -> int:
    if item == 7:
        child = subprocess.Popen(["sleep", "600"])
        (Path(folder) / "child").write_text(str(child.pid))
        time.sleep(600)
    return item


class Unpicklable(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__("only the text travels")
        self.lock = (first, second, lambda: None)


class Coded(Exception):
    error_class = "rate_limited"


def misbehave(item: int) -> Any:
    if item == 1:
        raise Unpicklable(1, 2)
    if item == 2:
        raise Coded("come back later")
    if item == 3:
        return lambda: None
    if item == 4:
        raise SystemExit(3)
    return item


def fail_to_start() -> None:
    raise OSError("no such disk")


def note_pid(folder: str) -> None:
    (Path(folder) / f"pid-{os.getpid()}").touch()


def sleep_long(item: int) -> None:
    time.sleep(600)


def run_until_killed(folder: str) -> None:
    """Be a parent whose workers sleep; the test kills it."""
    from functools import partial

    from pipeline.workers.engine import LocalEngine

    for _ in LocalEngine(2).run(sleep_long, range(4), initializer=partial(note_pid, folder)):
        pass


def hold(item: int) -> int:
    """Hold so many MB, for long; a number below 100 holds next to nothing and ends at once."""
    if item >= 100:
        held = [b"\1" * (10 << 20) for _ in range(item // 10)]
        time.sleep(600)
        del held
    return item


def hold_and_release(item: int) -> int:
    """Hold so many MB, for long enough to be seen, and give them back."""
    held = [b"\1" * (1 << 20) for _ in range(item)]
    time.sleep(2.0)
    return len(held)


def claim(item: int) -> int:
    """Ask for so many MB at once, and touch none of them."""
    import numpy

    return int(numpy.empty(item << 20, numpy.uint8).size) >> 20


def hold_in_a_child(item: int) -> int:
    """Let a child, as ffmpeg is one, hold 700 MB."""
    if item == 7:
        subprocess.run([sys.executable, "-c", "held = b'1' * (700 << 20); import time; time.sleep(600)"], check=True)
    return item


def hold_while_answering(item: int, folder: str) -> Any:
    """Return an answer that holds next to nothing itself, and 700 MB while it is made ready to send."""
    if item == 7:
        note_as("pid", folder)
        return _LargeToSend()
    return hold_and_note(item, folder)


class _LargeToSend:
    def __reduce__(self) -> tuple[Any, ...]:
        return hold, (hold(700),)


_KEPT: list[bytes] = []


def keep(item: int) -> int:
    """Keep so many MB for good, and return the process id."""
    _KEPT.append(b"\1" * (item << 20))
    return os.getpid()


def hold_and_note(item: int, folder: str) -> int:
    """Hold so many MB, once the process id is noted; the item 1 waits for that note alone."""
    if item == 1:
        while not (Path(folder) / "pid").exists():
            time.sleep(0.01)
        return item
    note_as("pid", folder)
    return hold(item)


def note_as(name: str, folder: str) -> None:
    note = Path(folder) / name
    note.with_suffix(".tmp").write_text(str(os.getpid()))
    note.with_suffix(".tmp").replace(note)


def leave_a_file(item: tuple[str, int]) -> str:
    """Make a temporary file, and end as the item says; return the file's path."""
    import tempfile

    with tempfile.NamedTemporaryFile(prefix="left-") as file:
        match item[0]:
            case "memory":
                hold(900)
            case "deadline":
                time.sleep(600)
            case "death":
                os.kill(os.getpid(), signal.SIGKILL)
        return file.name


def lose_the_store(item: int) -> int:
    if item == 2:
        raise StoreError("store s3://b/r: the session token has expired")
    return item
