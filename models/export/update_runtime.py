"""Renew the packed ONNX Runtime Web from the npm registry; this needs npm, and a checkout.

.venv/bin/python -m models.export.update_runtime 1.30.0
"""

from __future__ import annotations

import json
import lzma
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from models.export.runtime import FILES, FOLDER, integrity_of

_PACKAGE = "onnxruntime-web"


def update(version: str) -> list[str]:
    """Fetch a release, check it against npm's hash, and pack its files; return a line for each.

    Raises:
        ValueError: the archive is not the one that the registry describes.
    """
    integrity = _npm("view", f"{_PACKAGE}@{version}", "dist.integrity").strip()
    with tempfile.TemporaryDirectory() as folder:
        name = _npm("pack", f"{_PACKAGE}@{version}", "--silent", "--pack-destination", folder).strip()
        archive = Path(folder, name)
        if integrity_of(archive.read_bytes()) != integrity:
            raise ValueError(f"{name} has another hash than npm's {integrity}")
        with tarfile.open(archive) as tar:
            files = {name: _member(tar, f"package/dist/{name}") for pair in FILES.values() for name in pair}
    for old in FOLDER.glob("*.xz"):
        old.unlink()
    lines = []
    for name, data in files.items():
        packed = lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
        (FOLDER / f"{name}.xz").write_bytes(packed)
        lines.append(f"{name}  {len(data):,} bytes, packed {len(packed):,}")
    about = {
        "version": version,
        "integrity": integrity,
        "files": {name: integrity_of(data) for name, data in files.items()},
    }
    (FOLDER / "runtime.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    return lines


def _npm(*arguments: str) -> str:
    return subprocess.run(["npm", *arguments], check=True, capture_output=True, text=True, timeout=300).stdout


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is not in the archive")
    return file.read()


if __name__ == "__main__":
    sys.stdout.write("\n".join(update(sys.argv[1])) + "\n")
