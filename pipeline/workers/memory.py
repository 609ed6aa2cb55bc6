"""Limit the memory of worker processes: the system refuses a huge allocation, and the supervisor watches the rest.

A file can claim sizes that it does not have, and a decoder believes it: an MP4 of 656 bytes took 2.8 GB. The supervisor
ends a worker that holds more than `engine.memory_mb`, together with its children (ffmpeg). Between two looks a process
may grow by much, so the system's own limit on its data (RLIMIT_DATA) stands a little above: what asks for more gets
a MemoryError, and no machine is filled. The limit on the address space (RLIMIT_AS) would not do: Arrow and the stacks
of threads reserve gigabytes that they never touch.
"""

from __future__ import annotations

import resource
from pathlib import Path

MB = 1 << 20
_HEADROOM_MB = 1024
"""By how much the system's limit is above that of the supervisor."""


def limit_own_data(memory_mb: int) -> None:
    """Limit the data of this process and of each of its children to come; 0: no limit."""
    if memory_mb:
        most = (memory_mb + _HEADROOM_MB) * MB
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def memory_of(pid: int) -> int:
    """Return the bytes that a process and its descendants hold, swapped ones too; 0 where it is gone.

    Pages of files do not count: the system takes them back when it needs them.
    """
    total, open_pids = 0, [pid]
    while open_pids:
        process = Path("/proc", str(open_pids.pop()))
        try:
            total += _own_bytes(process)
            for thread in (process / "task").iterdir():
                open_pids += map(int, (thread / "children").read_text().split())
        except OSError:  # it ended meanwhile
            continue
    return total


def _own_bytes(process: Path) -> int:
    lines = (process / "status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:", "VmSwap:")))


def over_limit_text(memory_mb: int) -> str:
    """Return what became of an item that needs more than a worker may hold, and the setting that says how much."""
    if not memory_mb:
        return "this machine has not the memory that it needs"
    return f"needs more memory than a worker process may hold (engine.memory_mb = {memory_mb}) and was ended"
