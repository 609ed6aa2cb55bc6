"""The program's own code: a copy to send to the nodes of a cluster, and a hash that tells whether two are the same."""

from __future__ import annotations

import hashlib
import shutil
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("assets", "classifier", "models", "pipeline")
_NOT_SENT = shutil.ignore_patterns("__pycache__", "*.pyc", "*.xz")  # compressed files: the runtime of exported pages


def copy_code(folder: Path) -> None:
    """Copy the packages into a folder, without what no node needs."""
    for name in PACKAGES:
        shutil.copytree(_package(name), folder / name, ignore=_NOT_SENT)


@cache
def code_hash() -> str:
    """Return a hash of all modules of the packages as this process would import them."""
    digest = hashlib.sha256()
    for name in PACKAGES:
        package = _package(name)
        for path in sorted(package.rglob("*.py")):
            digest.update(f"{path.relative_to(package.parent).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _package(name: str) -> Path:
    found = find_spec(name)
    assert found is not None, f"package {name} is not installed"
    assert found.origin is not None, f"package {name} has no folder"
    return Path(found.origin).parent
