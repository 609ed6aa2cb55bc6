"""The objects of an S3 root under the names of methods that fsspec gives to files, as far as a store uses them.

Nothing is remembered between two calls: what another process wrote a moment ago is there. A whole listing takes one
request for a thousand objects, and asks for nothing but the prefix.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from botocore.exceptions import ClientError

from pipeline.errors import StoreError, UserError
from pipeline.storage.s3_answers import problem_of_key
from pipeline.storage.s3_options import SCHEMES
from pipeline.storage.s3_reads import S3Object, S3Reader
from pipeline.storage.s3_requests import S3Requests
from pipeline.storage.s3_uploads import S3Uploads, Unfinished

_COPY_WHOLE = 5 << 30
_COPY_PART = 1 << 30
_DELETE_AT_A_TIME = 1000


class S3Files:
    """Reads, writes and lists objects by URL (`s3://bucket/key`)."""

    def __init__(self, root: str, storage_options: dict[str, str]) -> None:
        """Prepare; nothing is sent. UserError where the root names no bucket."""
        self.bucket, _, self.prefix = root.partition("://")[2].partition("/")
        if not self.bucket:
            raise UserError(f"store root {root!r} names no bucket: name one with --root s3://BUCKET/PREFIX.")
        self._requests = S3Requests(root, storage_options)
        self._uploads = S3Uploads(self._requests, self.bucket)

    # -- one object -----------------------------------------------------------------------------------------------

    def cat_file(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return the bytes of an object, or of a range of it; FileNotFoundError if absent."""
        if start is None and end is None:
            return b"".join(self._object(path).pieces())
        assert start is not None
        assert end is not None
        return self._object(path).piece(start, end - start).data if end > start else b""

    def get_file(self, path: str, target: str) -> None:
        """Copy an object to a local path; FileNotFoundError if absent."""
        pieces = self._object(path).pieces()
        first = next(pieces)  # before the file is made: an absent object leaves none
        with Path(target).open("wb") as file:
            file.write(first)
            for piece in pieces:
                file.write(piece)

    def put_file(self, source: str, path: str) -> None:
        """Copy a local file to an object, which readers see whole or not at all."""
        self._uploads.put(Path(source), self._key(path), self._about(path))

    def open(self, path: str, mode: str = "rb") -> BinaryIO:
        """Return an object as a file to read; FileNotFoundError if absent."""
        assert mode == "rb", "objects are written by put_file"
        # its own buffer is small: the reader holds a range already
        return cast(BinaryIO, io.BufferedReader(S3Reader(self._object(path).piece), 1 << 16))

    def exists(self, path: str) -> bool:
        """Tell whether there is such an object."""
        try:
            self._head(path)
        except FileNotFoundError:
            return False
        return True

    def size(self, path: str) -> int:
        """Return the size of an object in bytes; FileNotFoundError if absent."""
        return int(self._head(path)["ContentLength"])

    def rm_file(self, path: str) -> None:
        """Delete an object, if there is one."""
        self._requests.send("delete_object", self._about(path), Bucket=self.bucket, Key=self._key(path))

    def rm_files(self, paths: Iterable[str]) -> None:
        """Delete objects, a thousand in a request."""
        keys = [self._key(path) for path in paths]
        for first in range(0, len(keys), _DELETE_AT_A_TIME):
            self._delete(keys[first : first + _DELETE_AT_A_TIME])

    def _delete(self, left: list[str]) -> None:
        """Delete objects in one request; again those that the answer says the store has trouble with."""

        def attempt() -> None:
            wanted = {"Objects": [{"Key": key} for key in left], "Quiet": True}
            errors = self._requests.once("delete_objects", Bucket=self.bucket, Delete=wanted).get("Errors", ())
            problems = [(error, problem_of_key(error)) for error in errors]
            for error, problem in problems:
                if not problem.passing and not problem.missing:
                    raise StoreError(
                        f"store {self._requests.root}: {error.get('Key')} cannot be deleted ({problem.code}): give "
                        "these credentials s3:DeleteObject, and run again."
                    )
            left[:] = [str(error["Key"]) for error, problem in problems if problem.passing]
            if left:
                error = next(error for error, problem in problems if problem.passing)
                raise ClientError({"Error": error}, "DeleteObjects")

        self._requests.tried("delete_objects", f"{len(left)} objects", attempt)

    def mv(self, path: str, target: str) -> None:
        """Move an object, on the server; FileNotFoundError if absent."""
        size, about = self.size(path), self._about(path)
        place = {"Bucket": self.bucket, "Key": self._key(target)}
        source = {"Bucket": self.bucket, "Key": self._key(path)}
        if size <= _COPY_WHOLE:
            self._requests.send("copy_object", about, CopySource=source, **place)
        else:
            self._uploads.copy(source, size, self._key(target), about, _COPY_PART)
        self.rm_file(path)

    # -- many objects ---------------------------------------------------------------------------------------------

    def find(self, path: str, after: str | None = None) -> dict[str, dict[str, Any]]:
        """Return what is known of the objects below a folder, by `bucket/key`; {} where there is no such folder.

        Args:
            path: URL of the folder.
            after: only objects whose URLs come behind this one, in the order of bytes.
        """
        how = {"StartAfter": self._key(after)} if after else {}
        return {
            f"{self.bucket}/{one['Key']}": {
                "size": one["Size"],
                "LastModified": one["LastModified"],
                "ETag": one.get("ETag"),
            }
            for page in self._pages(path, **how)
            for one in page.get("Contents", ())
        }

    def ls(self, path: str, detail: bool = True) -> list[Any]:
        """Return the objects and folders that lie in a folder itself: names, or what is known of them."""
        found: list[dict[str, Any]] = []
        for page in self._pages(path, Delimiter="/"):
            found += [
                {"name": f"{self.bucket}/{one['Key']}", "type": "file", "size": one["Size"]}
                for one in page.get("Contents", ())
            ]
            found += [
                {"name": f"{self.bucket}/{one['Prefix'].rstrip('/')}", "type": "directory"}
                for one in page.get("CommonPrefixes", ())
            ]
        return found if detail else [one["name"] for one in found]

    def unfinished_uploads(self, older_than: datetime) -> list[Unfinished]:
        """Return the uploads in parts below the root that began before a time and have not ended."""
        found = self._uploads.unfinished(f"{self.prefix}/" if self.prefix else "")
        return [one for one in found if one.began < older_than]

    def abort(self, upload: Unfinished) -> None:
        """End an upload in parts that another process has left."""
        self._uploads.abort(self._key(upload.name), upload.upload_id)

    def versioning(self) -> str:
        """Return the versioning of the bucket (`Enabled`, `Suspended`), "" where there is none."""
        answer = self._requests.send("get_bucket_versioning", "the bucket", Bucket=self.bucket)
        return str(answer.get("Status") or "")

    def _pages(self, path: str, **how: str) -> Iterator[dict[str, Any]]:
        prefix = self._key(path).rstrip("/")
        token: dict[str, str] = {}
        while True:
            answer = self._requests.send(
                "list_objects_v2",
                self._about(path),
                Bucket=self.bucket,
                Prefix=f"{prefix}/" if prefix else "",
                **how,
                **token,
            )
            yield answer
            if not answer.get("IsTruncated"):
                return
            token = {"ContinuationToken": answer["NextContinuationToken"]}

    # -- names ----------------------------------------------------------------------------------------------------

    def _head(self, path: str) -> dict[str, Any]:
        return self._requests.send("head_object", self._about(path), Bucket=self.bucket, Key=self._key(path))

    def _object(self, path: str) -> S3Object:
        return S3Object(self._requests, self.bucket, self._key(path), self._about(path))

    def _key(self, path: str) -> str:
        """Return the key of a URL, or of `bucket/key`, in the bucket."""
        rest = path.partition("://")[2] if path.startswith(SCHEMES) else path
        bucket, _, key = rest.partition("/")
        assert bucket == self.bucket, f"{path} is not in bucket {self.bucket}"
        return key

    def key_below_root(self, name: str) -> str:
        """Return the key in the root of an object (`bucket/key`)."""
        return name.partition("/")[2][len(self.prefix) :].lstrip("/")

    def _about(self, path: str) -> str:
        return self._key(path)[len(self.prefix) :].lstrip("/")
