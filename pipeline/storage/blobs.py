"""Blobs: immutable bytes under a key (tars, models, pictures), written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

from pipeline.errors import StoreError, UserError
from pipeline.storage.checksums import expected_checksum, forget_gone
from pipeline.storage.owner import sweep_unfinished, unfinished_name
from pipeline.storage.root import Root
from pipeline.usage import count

_READ_BY_KEY = ("labels/", "reports/", "takedowns/")
RUN_FILES = frozenset({"run.json", "config.yaml", "restarts.json"})
"""What a training run says of itself, beside its checkpoints."""


def is_read_by_key(key: str) -> bool:
    """Tell whether no row has the hash of a blob, so that its checksum is kept beside it.

    A report, a queue, a receipt, what a training run says of itself. None of these keys names a video.
    """
    folder, _, name = key.rpartition("/")
    of_a_run = folder.endswith("/checkpoints") and name in RUN_FILES
    return key.startswith(_READ_BY_KEY) or of_a_run


class BlobStat(NamedTuple):
    """What the store says of a blob without opening it."""

    size: int
    """In bytes."""
    modified: datetime
    """When it was written, UTC."""
    etag: str | None = None
    """A text of the object store that changes with the bytes; None in a folder."""


class Blobs(Root):
    """The blobs of a root: written under a temporary name and renamed, or sent in one PUT."""

    def _count(self, *, read: int = 0, written: int = 0) -> None:
        """Count one operation and its bytes; the client of S3 itself counts what it sends."""
        count(read=read, written=written, requests=1 if self._s3 is None else 0)

    def write_blob(self, key: str, data: bytes) -> None:
        """Write bytes under a key atomically: readers see all of them or none."""
        with self.write_file(key) as file:
            file.write(data)

    @contextmanager
    def write_file(self, key: str) -> Iterator[IO[bytes]]:
        """Yield a local file to write to; it becomes the blob when the block ends without an error."""
        target = self.url(key)
        if self.is_local:
            folder = Path(target).parent
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / unfinished_name()
            try:
                with temporary.open("wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                self._count(written=temporary.stat().st_size)
                if is_read_by_key(key):
                    # before the rename: a good file whose line is missing would be accused by the line of an older one
                    with expected_checksum(Path(self.root), key, temporary):
                        temporary.replace(target)
                else:
                    temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
            return
        with tempfile.NamedTemporaryFile(prefix="lampworks-") as file:
            yield file
            file.flush()
            self._count(written=os.path.getsize(file.name))
            self._fs.put_file(file.name, target)

    def sweep_unfinished(self, prefix: str) -> int:
        """Delete what killed processes of this machine began to write in a folder, and return the number of files."""
        return sweep_unfinished(Path(self.url(prefix))) if self.is_local else 0

    def put_file(self, key: str, source: Path) -> None:
        """Copy a local file to a key; the source stays."""
        with self.write_file(key) as target, source.open("rb") as file:
            shutil.copyfileobj(file, target, 1 << 20)

    def take_file(self, key: str, source: Path) -> None:
        """Move a local file to a key; it is copied and deleted where a rename is not possible.

        A file with a second hard link is always copied, because writing through the other link would change the blob.
        """
        if self.is_local and source.stat().st_nlink == 1:
            target = Path(self.url(key))
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as file:
                os.fsync(file.fileno())
            with suppress(OSError):  # on another file system it is copied below
                source.replace(target)
                self._count(written=target.stat().st_size)
                return
        self.put_file(key, source)
        source.unlink()

    def read_blob(self, key: str) -> bytes:
        """Return all bytes of a blob; FileNotFoundError if absent."""
        data = bytes(self._fs.cat_file(self.url(key)))
        self._count(read=len(data))
        return data

    def read_range(self, key: str, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` of a blob (one ranged GET on S3).

        Raises:
            EOFError: the blob is shorter than that.
            FileNotFoundError: there is no such blob.
        """
        data = bytes(self._fs.cat_file(self.url(key), start=offset, end=offset + size))
        self._count(read=len(data))
        if len(data) != size:
            raise EOFError(f"blob {key} ends before byte {offset + size}: it is not the blob that its row describes")
        return data

    @contextmanager
    def local_file(self, key: str) -> Iterator[Path]:
        """Yield a local path of the blob: the blob itself in a folder, a temporary copy elsewhere."""
        if self.is_local:
            path = Path(self.url(key))
            if not path.exists():
                raise FileNotFoundError(path)
            self._count(read=path.stat().st_size)
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="lampworks-") as folder:
            path = Path(folder) / Path(key).name
            self._fs.get_file(self.url(key), str(path))
            self._count(read=path.stat().st_size)
            yield path

    def move(self, key: str, target: str) -> None:
        """Move a blob to another key; FileNotFoundError if absent."""
        if self.is_local:
            Path(self.url(target)).parent.mkdir(parents=True, exist_ok=True)
            Path(self.url(key)).replace(self.url(target))
            return
        self._fs.mv(self.url(key), self.url(target))

    def copy_to(self, key: str, target: Path) -> None:
        """Copy a blob to a local path; FileNotFoundError if absent."""
        self._fs.get_file(self.url(key), str(target))

    def size(self, key: str) -> int:
        """Return the size of a blob in bytes; FileNotFoundError if absent."""
        return int(self._fs.size(self.url(key)))

    @contextmanager
    def open_blob(self, key: str) -> Iterator[IO[bytes]]:
        """Yield a blob to be read from its first byte to its last, in pieces; FileNotFoundError if absent."""
        with self._fs.open(self.url(key), "rb") as file:
            # without another request for the size
            self._count(read=file.seek(0, os.SEEK_END))
            file.seek(0)
            yield file

    def sha256(self, key: str) -> str:
        """Return the SHA-256 of a blob, read in pieces; FileNotFoundError if absent."""
        digest = hashlib.sha256()
        with self._fs.open(self.url(key), "rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
            self._count(read=file.tell())
        return digest.hexdigest()

    def exists(self, key: str) -> bool:
        """Tell whether a blob exists."""
        self._count()
        return bool(self._fs.exists(self.url(key)))

    def list_blobs(self, prefix: str) -> list[str]:
        """Return the sorted keys in a folder, temporary names of unfinished writes included."""
        return sorted(self._found(prefix))

    def list_folders(self, prefix: str) -> list[str]:
        """Return the sorted names of the folders in a folder."""
        base = self.url(prefix)
        self._count()
        if self._s3 is None:
            self._fs.invalidate_cache()
            if not self._fs.exists(base):
                return []
        found = self._fs.ls(base, detail=True)
        return sorted(str(one["name"]).rstrip("/").rsplit("/", 1)[-1] for one in found if one["type"] == "directory")

    def _found(self, prefix: str) -> dict[str, Any]:
        """Return key -> what the store says of the blobs in a folder."""
        base = self.url(prefix)
        self._count()
        if self._s3 is not None:
            return {self._s3.key_below_root(name): about for name, about in self._s3.find(base).items()}
        self._fs.invalidate_cache()
        if not self._fs.exists(base):
            return {}
        start = self._fs._strip_protocol(self.root)
        return {str(path)[len(start) :].lstrip("/"): about for path, about in self._fs.find(base, detail=True).items()}

    def stat_blobs(self, prefix: str) -> dict[str, BlobStat]:
        """Return key -> size and time of the blobs in a folder, in the order of their keys."""
        found = {}
        for key, about in sorted(self._found(prefix).items()):
            written = about.get("LastModified", about.get("mtime", 0.0))
            at = written if isinstance(written, datetime) else datetime.fromtimestamp(float(written), UTC)
            found[key] = BlobStat(
                int(about["size"]), at.astimezone(UTC), str(about["ETag"]).strip('"') if about.get("ETag") else None
            )
        return found

    def delete(self, key: str) -> None:
        """Delete a blob, if it exists."""
        # S3 does not mind one that is gone
        if self._s3 is not None or self._fs.exists(self.url(key)):
            self._fs.rm_file(self.url(key))

    def forget_gone_checksums(self) -> None:
        """Take the checksums of deleted blobs away, and those of what was written over."""
        if self.is_local:
            forget_gone(Path(self.root))

    def delete_all(self, keys: Collection[str]) -> None:
        """Delete blobs, those that exist; an S3 store takes a thousand in a request."""
        if self._s3 is not None:
            self._s3.rm_files([self.url(key) for key in keys])
            return
        for key in keys:
            self.delete(key)

    def unfinished_uploads(self, older_than: datetime) -> list[str]:
        """Return the keys of uploads in parts that began before a time and never ended; [] in a folder.

        They are no blobs: nobody sees them, and they take space.
        """
        if self._s3 is None:
            return []
        return sorted({self._s3.key_below_root(one.name) for one in self._s3.unfinished_uploads(older_than)})

    def abort_uploads(self, older_than: datetime) -> None:
        """End the uploads in parts that began before a time and never ended."""
        if self._s3 is not None:
            for one in self._s3.unfinished_uploads(older_than):
                with suppress(FileNotFoundError):  # it has ended meanwhile
                    self._s3.abort(one)

    def bucket_versioning(self) -> str | None:
        """Return the versioning of a bucket (`Enabled`, `Suspended`), "" where there is none, None if not known."""
        if self._s3 is None:
            return None
        try:
            return self._s3.versioning()
        except StoreError:  # many do not answer this
            return None

    def check_writable(self) -> None:
        """Write and delete a probe; UserError names the root and the fix where that fails."""
        probe = f".probe-{uuid.uuid4().hex}"
        try:
            self.write_blob(probe, b"lampworks")
            self.delete(probe)
        except StoreError:  # it says itself what is wrong
            raise
        except Exception as exc:  # each object store raises its own exceptions
            raise UserError(
                f"store root {self.root!r} is not writable: {exc}. Choose another with --root, or free space and "
                "give this user write access."
            ) from exc
