"""Name the state of a folder's file by one text, so that an attempt tells which state it was made at.

It is the size in bytes and the time of the last change in microseconds; of an object, the size and the tag (ETag) that
its object store changes with the bytes, so that an object which is written again with the same bytes stays the same.

    file_version({"size_bytes": 120, "modified_at": moment, "etag": None})  # "120-1764144000000000"
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from pipeline.storage.arrow import pc

VERSION_COLUMNS = ("size_bytes", "modified_at", "etag")
"""Columns of `videos` that tell one state of a file from another; null for what is no file of a folder."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def file_version(video: Mapping[str, Any]) -> str | None:
    """Return the text of a row of `videos`; None where it is no file, or was not searched since this is kept."""
    size, modified, etag = (video.get(name) for name in VERSION_COLUMNS)
    if size is None or (modified is None and not etag):
        return None
    return f"{size}-{etag or _microseconds(modified)}"


def _microseconds(modified: Any) -> int:
    assert isinstance(modified, datetime)
    return (modified - _EPOCH) // timedelta(microseconds=1)


def file_versions(videos: pa.Table) -> Any:
    """Return the texts of rows of `videos` as one array of strings, null where `file_version` is None."""
    moments = videos["modified_at"].cast(pa.int64()).cast(pa.string())
    marks = pc.coalesce(pc.if_else(pc.equal(videos["etag"], ""), pa.scalar(None, pa.string()), videos["etag"]), moments)
    return pc.binary_join_element_wise(videos["size_bytes"].cast(pa.string()), marks, "-").combine_chunks()
