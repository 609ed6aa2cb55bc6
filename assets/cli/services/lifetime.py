"""Processes of one `lampworks services`: how they are found, and how they end with it.

Dagster's processes start others, which inherit the environment, and with it a mark of the command that started them and
the name of their service.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress

import psutil

from assets.cli.lifetime import end_all

MARK = "LAMPWORKS_SERVICES"
"""Variable that names the command: its process and when it began."""
ROLE = "LAMPWORKS_SERVICE"
"""Variable that names the service that a process belongs to."""
KILLED_WITH_S = 5.0
"""Time in which what a killed command leaves behind may end in order."""


def mark_of_this_process() -> str:
    """Return the mark for the processes that this one starts."""
    return f"{os.getpid()} {psutil.Process().create_time():.2f}"


def processes_of(mark: str, role: str | None = None) -> list[psutil.Process]:
    """Return the living processes of a command, or of one of its services, without this one."""
    found = []
    for process in psutil.process_iter():
        # other users' processes show no environment, and one that ends meanwhile shows nothing
        with suppress(psutil.Error, OSError):
            environment = process.environ() if process.pid != os.getpid() else {}
            if environment.get(MARK) == mark and role in {None, environment.get(ROLE)}:
                found.append(process)
    return found


def end_processes(mark: str, role: str | None, patience_s: float) -> None:
    """End the processes of a command, or of one of its services: asked first, killed after a time."""
    end_all(lambda: processes_of(mark, role), patience_s)


def end_with_command(life_fd: int) -> None:
    """From now on, end this process and all others of the command when the other end of a socket closes.

    The other end is in the command itself: it closes however the command ends.
    """
    life, mark = socket.socket(fileno=life_fd), os.environ[MARK]
    life.set_inheritable(False)

    def wait() -> None:
        with suppress(OSError):
            life.recv(1)
        end_processes(mark, None, KILLED_WITH_S)
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="end with the command").start()
