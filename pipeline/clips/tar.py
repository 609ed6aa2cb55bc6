"""Write tars whose bytes depend on names and contents alone."""

from __future__ import annotations

import io
import tarfile
from typing import IO, cast

_TAR_BLOCK = 512


class TarWriter:
    """Writes a tar whose bytes depend on names and contents alone, and returns where each member's data lies."""

    def __init__(self, file: IO[bytes] | io.RawIOBase) -> None:
        self._tar = tarfile.TarFile(fileobj=cast(IO[bytes], file), mode="w", format=tarfile.GNU_FORMAT)

    def add(self, name: str, data: bytes) -> int:
        """Add a member and return the offset of its first byte in the tar."""
        member = tarfile.TarInfo(name)
        member.size, member.mtime, member.mode = len(data), 0, 0o444
        self._tar.addfile(member, io.BytesIO(data))
        return int(self._tar.offset) - -(-len(data) // _TAR_BLOCK) * _TAR_BLOCK

    def close(self) -> None:
        """Write the end of the tar; the file stays open."""
        self._tar.close()
