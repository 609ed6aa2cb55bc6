"""How much memory a process may still take: of the machine, and of the control groups that limit it (containers).

The kernel kills a process that takes more, without a word. Both versions of control groups are read; a group without a
limit, or that cannot be read, does not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_NO_LIMIT = 1 << 60


class MemoryThere(NamedTuple):
    """Memory that is there."""

    bytes: int
    where: str
    """Whose it is, to show to a person."""


def memory_there(root: Path = Path("/")) -> MemoryThere:
    """Return the memory that this process may still take, and what limits it.

    Args:
        root: holds `proc` and `sys`; tests give another.
    """
    found = [MemoryThere(_of_machine(root), "of this machine")]
    found += [MemoryThere(left, f"under its limit of {limit / 1e9:.1f} GB") for limit, left in _groups(root)]
    return min(found)


def _of_machine(root: Path) -> int:
    lines = (root / "proc/meminfo").read_text("ascii").splitlines()
    kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return 1024 * kilobytes.get("MemAvailable", kilobytes.get("MemFree", 0))


def _groups(root: Path) -> Iterator[tuple[int, int]]:
    """Yield the limit of each control group of this process that has one, and what is left of it."""
    names = {"memory.max": ("memory.current", "inactive_file")}
    names["memory.limit_in_bytes"] = ("memory.usage_in_bytes", "total_inactive_file")
    for folder in _folders(root):
        for limit_name, (used_name, cache_name) in names.items():
            limit, used = _number(folder / limit_name), _number(folder / used_name)
            if limit is None or used is None or limit >= _NO_LIMIT:
                continue
            # files that were read count as used, and the kernel gives them up first
            cached = _number_in(folder / "memory.stat", cache_name)
            yield limit, max(0, limit - used + min(cached, used))


def _folders(root: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups, and of all groups around them."""
    top = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    paths = {(top, "")}
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            paths.add((top, path.strip("/")))
        elif "memory" in controllers.split(","):
            paths |= {(top / "memory", path.strip("/")), (top / "memory", "")}
    seen: set[Path] = set()
    for base, path in sorted(paths):
        folder = base / path
        # a container may not see its own path: the groups that exist around it count
        for around in (folder, *folder.parents):
            if around == base or base in around.parents:
                seen.add(around)
    yield from sorted(seen)


def _number(path: Path) -> int | None:
    try:
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isdigit() else None


def _number_in(path: Path, name: str) -> int:
    try:
        lines = path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    found = [line.split()[1] for line in lines if line.startswith(f"{name} ")]
    return int(found[0]) if found and found[0].isdigit() else 0
