"""Open a packed world, a folder or a tar of it, and check every file of it against its manifest.

    packed = open_packed("world")
    packed.read("play.json")

Nothing is unpacked to disk, and only files that the manifest names are read.
"""

from __future__ import annotations

import hashlib
import io
import shlex
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from models.play.packed.layout import MANIFEST, MOST_JSON, WORLD_FILE, Manifest
from pipeline.errors import UserError
from pipeline.outside import parse_json
from pipeline.regular_file import OddFileError, open_regular, read_regular

_COPY = "copy the whole folder or tar again"
Opener = Callable[[str], IO[bytes]]
"""Opens a file of a packed world; KeyError or OSError where it is not there."""


class Packed:
    """A packed world whose files are what its manifest says."""

    def __init__(self, where: str, manifest: Manifest, opener: Opener) -> None:
        """Take a manifest, and check every file; UserError names the first that is damaged or missing."""
        self.where, self.manifest, self._open = where, manifest, opener
        for name, entry in manifest.files.items():
            digest, size = hashlib.sha256(), 0
            with self._opened(name) as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
                    size += len(piece)
                    if size > entry.size:
                        break
            if (size, digest.hexdigest()) != (entry.size, entry.sha256):
                raise UserError(
                    f"{where}: {name} is damaged or cut short ({size} bytes of {entry.size}, or other ones): {_COPY}"
                )

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            UserError: the manifest has no such file, or it was changed since it was checked.
        """
        entry = self.manifest.files.get(name)
        if entry is None:
            raise UserError(f"{self.where}: it has no {name}, which a packed world needs: {_COPY}")
        with self._opened(name) as file:
            data = file.read(entry.size + 1)
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise UserError(f"{self.where}: {name} was changed while it was read")
        return data

    def read_object(self, name: str) -> dict[str, Any]:
        """Return the JSON object in a file; UserError where it is none."""
        found = _json_of(self.read(name), self.where, name)
        if not isinstance(found, dict):
            raise UserError(f"{self.where}: {name} is no JSON object")
        return found

    def _opened(self, name: str) -> IO[bytes]:
        try:
            return self._open(name)
        except (KeyError, OSError) as exc:
            why = exc.strerror if isinstance(exc, OddFileError) else "is not there, or cannot be read"
            raise UserError(f"{self.where}: {name} {why}: {_COPY}") from exc


def open_packed(path: str | Path) -> Packed:
    """Return a packed world, checked.

    Args:
        path: its folder, or a tar of it.

    Raises:
        UserError: it is none, is damaged, or is of another format.
    """
    place, where = Path(path), str(path)
    if place.is_dir():
        return Packed(where, _manifest(where, place), lambda name: open_regular(place / name))
    if not place.exists():
        raise UserError(f"{where} is not there: name the folder or the tar of a packed world")
    if place.suffix == ".html":
        raise UserError(f"{where} is a page: open it in a browser")
    try:
        with open_regular(place):
            pass
        with tarfile.open(place, "r:") as tar:
            members = {member.name.removeprefix("./"): member for member in tar.getmembers() if member.isreg()}
    except OSError as exc:
        raise UserError(f"{where} cannot be read: {exc.strerror or exc}") from exc
    except tarfile.TarError as exc:
        raise UserError(
            f"{where} is no tar, or one that is damaged or compressed: name the folder or the tar of a packed world"
        ) from exc
    return _from_tar(where, place, members)


def _from_tar(where: str, place: Path, members: dict[str, tarfile.TarInfo]) -> Packed:
    manifests = [
        name for name in members if name == MANIFEST or (name.endswith(f"/{MANIFEST}") and name.count("/") == 1)
    ]
    if not manifests:
        raise UserError(_no_manifest(where, older=WORLD_FILE in members))
    # a tar that a person made of the folder has its name before each file
    prefix = min(manifests, key=len).removesuffix(MANIFEST)

    def opener(name: str) -> IO[bytes]:
        member = members[f"{prefix}{name}"]
        with open_regular(place) as file:
            file.seek(member.offset_data)
            return io.BytesIO(file.read(member.size))

    if members[f"{prefix}{MANIFEST}"].size > MOST_JSON:
        raise UserError(f"{where}: its {MANIFEST} is damaged: {_COPY}")
    with opener(MANIFEST) as file:
        data = file.read()
    return Packed(where, Manifest.from_json(_json_of(data, where, MANIFEST), where), opener)


def _manifest(where: str, folder: Path) -> Manifest:
    if not (folder / MANIFEST).exists():
        if (folder / "tables").is_dir():
            raise UserError(
                f"{where} is a root, not a packed world: play it with `lampworks play --root {shlex.quote(where)}`"
            )
        raise UserError(_no_manifest(where, older=(folder / WORLD_FILE).exists()))
    try:
        data = read_regular(folder / MANIFEST, MOST_JSON)
    except OSError as exc:
        raise UserError(f"{where}: its {MANIFEST} cannot be read: {exc.strerror or exc}") from exc
    return Manifest.from_json(_json_of(data, where, MANIFEST), where)


def _no_manifest(where: str, *, older: bool) -> str:
    if older:
        return (
            f"{where} was packed by an older lampworks, or is not whole: pack it again (`lampworks export world.tar`)"
        )
    return f"{where} has no {MANIFEST}, so it is no packed world: `lampworks export world.tar` packs one"


def _json_of(data: bytes, where: str, name: str) -> Any:
    try:
        return parse_json(data)
    except (ValueError, RecursionError) as exc:
        raise UserError(f"{where}: {name} is no JSON: {_COPY}") from exc
