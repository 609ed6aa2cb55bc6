"""What lies under a root, to be compared before and after: a second run must leave it as it was."""

from __future__ import annotations

import hashlib
from pathlib import Path


def snapshot(root: str | Path) -> dict[str, tuple[int, int]]:
    """Return size and time of modification (ns) of every file: whatever wrote a file again is seen."""
    return {name: (path.stat().st_size, path.stat().st_mtime_ns) for name, path in _files(root).items()}


def digests(root: str | Path) -> dict[str, str]:
    """Return the sha256 of every file: whether the bytes are the same, also under another root."""
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in _files(root).items()}


def _files(root: str | Path) -> dict[str, Path]:
    return {str(path.relative_to(root)): path for path in sorted(Path(root).rglob("*")) if path.is_file()}
