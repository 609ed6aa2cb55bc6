"""Reads of objects: small ones in one request, large ones in ranges side by side, always of one version of the object.

Memory holds a few ranges of `PART` bytes, whatever the size of the object. A read that breaks is tried again from its
own range; one of an object that was replaced in between fails instead of mixing two versions.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from pipeline.storage.s3_requests import S3Requests

PART = 1 << 24
"""Bytes of a range, and of a part of an upload."""
AT_A_TIME = 4
"""Ranges, or parts, that are under way at a time."""


@dataclass(frozen=True)
class Piece:
    """Bytes of an object, and what the answer said of the whole."""

    data: bytes
    total: int
    """Size of the object."""
    etag: str


class S3Object:
    """One object, as it is read."""

    def __init__(self, requests: S3Requests, bucket: str, key: str, about: str) -> None:
        self._requests, self._bucket, self._key, self._about = requests, bucket, key, about

    def piece(self, start: int, size: int, etag: str | None = None) -> Piece:
        """Return up to `size` bytes from `start` on; fewer where the object ends, none behind its end.

        Args:
            start: first byte.
            size: at least 1.
            etag: of the version that is read.

        Raises:
            FileNotFoundError: there is no such object.
            EOFError: it was replaced by another version.
        """
        wanted: dict[str, Any] = {"Range": f"bytes={start}-{start + size - 1}"}
        if etag is not None:
            wanted["IfMatch"] = etag

        def attempt() -> Piece:
            try:
                answer = self._requests.once("get_object", Bucket=self._bucket, Key=self._key, **wanted)
            except ClientError as exc:
                status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                if status == 412:
                    raise EOFError(f"{self._about} was replaced while it was read") from None
                if status == 416:  # behind the end, or of an object without a byte
                    return Piece(b"", start, etag or "")
                raise
            with answer["Body"] as body:
                data: bytes = body.read()
            # "bytes 0-99/1234"; a server that ignores the range sends all, without this header
            said = str(answer.get("ContentRange") or "")
            total = int(said.rpartition("/")[2]) if said else len(data)
            return Piece(data if said else data[start : start + size], total, str(answer.get("ETag") or ""))

        return self._requests.tried("get_object", self._about, attempt)

    def pieces(self) -> Iterator[bytes]:
        """Yield the whole object in order; the ranges behind the first are read ahead, side by side."""
        first = self.piece(0, PART)
        yield first.data
        starts = range(PART, first.total, PART)
        if not starts:
            return
        with ThreadPoolExecutor(AT_A_TIME, "s3-read") as pool:
            ahead: list[Future[Piece]] = []
            try:
                for start in starts:
                    ahead.append(pool.submit(self.piece, start, min(PART, first.total - start), first.etag or None))
                    if len(ahead) == AT_A_TIME:
                        yield ahead.pop(0).result().data
                while ahead:
                    yield ahead.pop(0).result().data
            finally:
                for future in ahead:
                    future.cancel()


class S3Reader(io.RawIOBase):
    """An object as a file to read and to seek in: one range in memory."""

    def __init__(self, read: Callable[[int, int, str | None], Piece]) -> None:
        """Read the first range; FileNotFoundError where there is no such object."""
        self._read, self._at = read, 0
        self._start, self._piece = 0, read(0, PART, None)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._piece.total}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the range in memory reaches, and return the number of bytes; 0 at the end."""
        if self._at >= self._piece.total:
            return 0
        if not self._start <= self._at < self._start + len(self._piece.data):
            self._start = self._at
            self._piece = self._read(self._at, min(PART, self._piece.total - self._at), self._piece.etag or None)
        begin = self._at - self._start
        found = self._piece.data[begin : begin + len(buffer)]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)
