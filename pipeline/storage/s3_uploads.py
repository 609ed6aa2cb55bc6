"""Writes of objects: small ones in one PUT, large ones and copies in parts; readers see the whole object or none.

An upload in parts that a killed process leaves has no object, and takes space that nobody sees: `unfinished` finds it,
and `lampworks gc` ends it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import StoreError
from pipeline.storage.s3_reads import AT_A_TIME, PART
from pipeline.storage.s3_requests import S3Requests

MOST_PARTS = 10_000
"""Of an upload, says S3."""
WHOLE = 2 * PART
"""Up to this many bytes go in one PUT."""


class Unfinished(NamedTuple):
    """An upload in parts that has not ended."""

    name: str
    """`bucket/key`."""
    upload_id: str
    began: datetime


class S3Uploads:
    """Sends files to the bucket of a root."""

    def __init__(self, requests: S3Requests, bucket: str) -> None:
        self._requests, self._bucket = requests, bucket

    def put(self, path: Path, key: str, about: str) -> None:
        """Send a local file, which nobody changes meanwhile."""
        size = path.stat().st_size
        if size <= WHOLE:
            self._requests.send("put_object", about, Bucket=self._bucket, Key=key, Body=path.read_bytes())
            return
        part = max(PART, -(-size // MOST_PARTS))
        with self._upload(key, about) as upload_id:
            etags = self._send_parts(path, size, part, key, upload_id, about)
            self._complete(key, upload_id, etags, size, about)

    def copy(self, source: Mapping[str, str], size: int, key: str, about: str, part: int) -> None:
        """Copy an object in parts, on the server.

        Args:
            source: its `Bucket` and `Key`.
            size: of it.
            key: of the copy.
            about: for messages.
            part: bytes of a part.
        """
        with self._upload(key, about) as upload_id:
            etags = []
            for number, start in enumerate(range(0, size, part), 1):
                answer = self._requests.send(
                    "upload_part_copy",
                    about,
                    Bucket=self._bucket,
                    Key=key,
                    CopySource=source,
                    CopySourceRange=f"bytes={start}-{min(start + part, size) - 1}",
                    UploadId=upload_id,
                    PartNumber=number,
                )
                etags.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
            self._complete(key, upload_id, etags, size, about)

    @contextmanager
    def _upload(self, key: str, about: str) -> Iterator[str]:
        """Begin an upload in parts and yield its id; end it without an object where the block fails."""
        upload_id = str(self._requests.send("create_multipart_upload", about, Bucket=self._bucket, Key=key)["UploadId"])
        try:
            yield upload_id
        except BaseException:
            with suppress(StoreError, FileNotFoundError):  # `lampworks gc` ends what cannot be ended now
                self.abort(key, upload_id)
            raise

    def abort(self, key: str, upload_id: str) -> None:
        """End an upload in parts without an object."""
        self._requests.send(
            "abort_multipart_upload", "an unfinished upload", Bucket=self._bucket, Key=key, UploadId=upload_id
        )

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the uploads in parts below a prefix that have not ended."""
        marker: dict[str, str] = {}
        while True:
            answer = self._requests.send(
                "list_multipart_uploads", "unfinished uploads", Bucket=self._bucket, Prefix=prefix, **marker
            )
            for one in answer.get("Uploads", ()):
                yield Unfinished(f"{self._bucket}/{one['Key']}", str(one["UploadId"]), one["Initiated"])
            if not answer.get("IsTruncated"):
                return
            marker = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}

    def _send_parts(
        self, path: Path, size: int, part: int, key: str, upload_id: str, about: str
    ) -> list[dict[str, Any]]:
        def send(number: int) -> dict[str, Any]:
            with path.open("rb") as file:
                file.seek((number - 1) * part)
                data = file.read(part)
            answer = self._requests.send(
                "upload_part", about, Bucket=self._bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=data
            )
            # the store compares what it has with the checksums of the parts, where it gave any
            sums = {name: value for name, value in answer.items() if name.startswith("Checksum") and name[8:].isupper()}
            return {"PartNumber": number, "ETag": answer["ETag"], **sums}

        with ThreadPoolExecutor(AT_A_TIME, "s3-upload") as pool:
            futures = [pool.submit(send, number) for number in range(1, -(-size // part) + 1)]
            try:
                return [future.result() for future in futures]
            finally:
                for future in futures:
                    future.cancel()

    def _complete(self, key: str, upload_id: str, parts: list[dict[str, Any]], size: int, about: str) -> None:
        try:
            self._requests.send(
                "complete_multipart_upload",
                about,
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
            )
        except FileNotFoundError:
            # the answer to a request that succeeded was lost, and the upload is over: the object says so
            try:
                found = self._requests.send("head_object", about, Bucket=self._bucket, Key=key)
            except FileNotFoundError:
                found = {}
            etag = str(found.get("ETag") or "").strip('"')
            if int(found.get("ContentLength", -1)) != size or not etag.endswith(f"-{len(parts)}"):
                raise StoreError(
                    f"store {self._requests.root}: the upload of {about} was ended by another process: run again.",
                    passing=True,
                ) from None
