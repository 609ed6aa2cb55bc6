"""Recordings that were taken down: their files go, and they are not made again.

`removed.json` of an arcade folder holds keyed hashes of their ids, so that it names none of them.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pipeline.arcade.catalog import read_catalog, write_catalog
from pipeline.errors import UserError

_NAME = "removed.json"
_FOLDERS = ("media", "truth", "thumbnails", "rungs")


class Removed:
    """The recordings of a folder that were taken down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        known: dict[str, Any] = {}
        if (folder / _NAME).is_file():
            try:
                known = json.loads((folder / _NAME).read_text("utf-8"))
            except ValueError as exc:
                raise UserError(
                    f"{folder / _NAME} is damaged: it says which recordings must not be made again. Restore it, or "
                    "delete it and run `lampworks takedown` again for each of them."
                ) from exc
        self.salt = str(known.get("salt") or secrets.token_hex(16))
        self.hashes = set(known.get("hashes", ()))

    def __contains__(self, native_id: str) -> bool:
        return bool(self.hashes) and self._hash(native_id) in self.hashes

    def add(self, native_ids: Collection[str]) -> None:
        """Note recordings that must not be made again."""
        hashes = self.hashes | {self._hash(native_id) for native_id in native_ids}
        if hashes != self.hashes:
            self.hashes = hashes
            text = json.dumps({"salt": self.salt, "hashes": sorted(hashes)}, indent=1) + "\n"
            temporary = self.folder / f".tmp-{uuid.uuid4().hex}"
            temporary.write_text(text, "utf-8")
            temporary.replace(self.folder / _NAME)

    def _hash(self, native_id: str) -> str:
        return hashlib.blake2b(native_id.encode(), key=bytes.fromhex(self.salt), digest_size=16).hexdigest()


def files_of_recordings(folder: Path, native_ids: Collection[str]) -> list[Path]:
    """Return the files of recordings: media, truth, pictures, smaller sizes."""
    return sorted(path for path in _files(folder) if any(_is_of(path.name, one) for one in native_ids))


def remove_recordings(folder: Path, native_ids: Collection[str]) -> list[Path]:
    """Delete recordings for good, and return the files that went; a folder without a catalog stays as it is."""
    if not (folder / "catalog.json").is_file():
        return []
    recordings = read_catalog(folder)
    files = files_of_recordings(folder, native_ids)
    listed = [recording for recording in recordings if recording.native_id in native_ids]
    if files or listed:
        # first what keeps them from being made again
        Removed(folder).add(native_ids)
        write_catalog(folder, [recording for recording in recordings if recording.native_id not in native_ids])
        for path in files:
            path.unlink(missing_ok=True)
    return files


def _files(folder: Path) -> Iterator[Path]:
    for name in _FOLDERS:
        yield from (path for path in (folder / name).glob("*") if path.is_file())


def _is_of(name: str, native_id: str) -> bool:
    """Tell whether a file's name is a recording's id with what follows one (`.mp4`, `_144p-<hash>.mp4`)."""
    name = name.removeprefix(".tmp-")
    return name.startswith(native_id) and name[len(native_id) :][:1] in (".", "_", "-")
