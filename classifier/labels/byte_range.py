"""Serve a part of a blob over HTTP, whole or by byte range (RFC 9110), which browsers need to seek in a video."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pipeline.errors import StoreError
from pipeline.storage.store import Store

_IMMUTABLE = "private, max-age=31536000, immutable"


@dataclass(frozen=True)
class BlobPart:
    """Bytes of a blob that are served as a file of their own."""

    key: str
    offset: int
    size: int
    media_type: str
    tag: str
    """Changes whenever the bytes do (a hash)."""


def blob_response(store: Store, part: BlobPart, request: Request) -> Response:
    """Return the answer to a GET or HEAD request for a part of a blob.

    200, 206, 304 or 416; 410 where its bytes are gone; 503 where they cannot be read at the moment.
    """
    headers = {"accept-ranges": "bytes", "cache-control": _IMMUTABLE, "etag": f'"{part.tag}"'}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    try:
        asked = parse_range(request.headers.get("range"), part.size)
    except ValueError:
        return Response(status_code=416, headers={**headers, "content-range": f"bytes */{part.size}"})
    first, last = asked or (0, part.size - 1)
    if asked is not None:
        headers["content-range"] = f"bytes {first}-{last}/{part.size}"
    status = 200 if asked is None else 206
    if request.method == "HEAD":
        headers["content-length"] = str(last - first + 1)
        return Response(b"", status, headers, part.media_type)
    try:
        data = store.read_range(part.key, part.offset + first, last - first + 1)
    except (FileNotFoundError, EOFError) as exc:
        return PlainTextResponse(f"the clip's bytes are gone: {exc}", 410, {"cache-control": "no-store"})
    except (OSError, StoreError) as exc:
        return PlainTextResponse(f"the clip cannot be read: {exc}", 503)
    return Response(data, status, headers, part.media_type)


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the (first, last) byte that a Range header asks for; None means the whole.

    No header, another unit, several ranges and forms that RFC 9110 calls invalid mean the whole. ValueError where
    the range cannot be satisfied.
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size:
        raise ValueError(f"range {header!r} lies beyond {size} bytes")
    return start, end
