"""The version of the code that made something: the package's, and the commit where it runs from a checkout."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_FOLDER = Path(__file__).parents[1]


@cache
def code_version() -> str:
    """Return the version, as `0.1.0+3f0c2a1b9d8e`; `.changed` after it where files differ from the commit."""
    try:
        own = version("lampworks")
    except PackageNotFoundError:
        own = "unpacked"
    if not (_FOLDER / ".git").exists():
        return own
    commit = _git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return own
    return f"{own}+{commit}{'.changed' if _git('status', '--porcelain', '--untracked-files=no') else ''}"


def _git(*arguments: str) -> str:
    """Return what git says; nothing where it is not installed or fails."""
    try:
        found = subprocess.run(
            ["git", "-C", str(_FOLDER), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if not found.returncode else ""
