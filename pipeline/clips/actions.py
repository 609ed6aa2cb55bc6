"""Keep the true actions of a recording beside its clips: which rows of the sidecar lead over which transition.

kept = publish_actions(store, raw_path, folder, video_id, timeline, clips)
kept.key, kept.problem        # a blob named by the rows of the video's clips, or why there is none
read_actions(store, row)      # the rows of one clip, by the row of `clips`
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.actions.align import ClipFrames, Timeline, align
from pipeline.actions.columns import BadSidecarError
from pipeline.actions.sidecar import read_sidecar
from pipeline.actions.table import SUFFIX, read_table, table_bytes
from pipeline.errors import RAW_MISSING, PermanentError
from pipeline.sources.actions import raw_actions
from pipeline.storage.store import Store


class KeptActions(NamedTuple):
    """The actions of a video that was cut."""

    key: str | None = None
    """Of their blob; None where there are none."""
    sha256: str | None = None
    """Of its bytes."""
    problem: str | None = None
    """Why the sidecar that was fetched is not used, and what would be right; None where it is, or there is none."""


def publish_actions(
    store: Store,
    raw_path: str,
    folder: str,
    video_id: str,
    timeline: Timeline,
    clips: Sequence[ClipFrames],
    expected_sha256: str | None = None,
) -> KeptActions:
    """Write the actions of a video's clips, from the sidecar that was fetched with it (`download.actions: keep`).

    Args:
        store: the store.
        raw_path: key of the raw file.
        folder: key of the folder of the clips.
        video_id: the video.
        timeline: its frames and length.
        clips: its clips.
        expected_sha256: of the sidecar, as it was fetched; None where that is not known.

    Raises:
        PermanentError: the sidecar is not the one that was fetched (`raw_damaged`), or is gone (`raw_missing`).
    """
    fetched = next((key for key in raw_actions(raw_path) if store.exists(key)), None)
    if fetched is None:
        if expected_sha256 is None:
            return KeptActions()
        raise _gone(raw_path)
    try:
        sidecar = store.read_blob(fetched)
    except FileNotFoundError:  # another run drops it at this moment
        raise _gone(raw_path) from None
    if expected_sha256 is not None and hashlib.sha256(sidecar).hexdigest() != expected_sha256:
        # another action reads as well
        raise PermanentError(
            f"sidecar {fetched} is not the file that was fetched (another SHA-256). To fetch it again, run "
            "`lampworks doctor --deep --mend` and `lampworks run`.",
            error_class="raw_damaged",
        )
    try:
        table = align(read_sidecar(fetched, sidecar), timeline, clips)
    except BadSidecarError as error:
        return KeptActions(problem=str(error))
    if not len(table):
        return KeptActions()
    data = table_bytes(table)
    digest = hashlib.sha256(data).hexdigest()
    # named by its content: a sidecar that was mended gives another blob, and so another training set
    key = f"{folder}/{video_id}-{digest[:12]}{SUFFIX}"
    if not store.exists(key):
        store.write_blob(key, data)
    return KeptActions(key, digest)


def _gone(raw_path: str) -> PermanentError:
    text = f"the sidecar of true actions that was fetched with {raw_path} is not in the store"
    return PermanentError(text, error_class=RAW_MISSING)


def has_actions(key: object) -> bool:
    """Tell whether the column `actions` of a clip names a blob that can be read; older versions kept the sidecar."""
    return isinstance(key, str) and key.endswith(SUFFIX)


def read_actions(store: Store, row: Mapping[str, Any]) -> pa.Table | None:
    """Return the actions of a clip as rows of `pipeline.actions.table`, by its row in `clips`; None without any."""
    return read_table(store, row["actions"], [row["clip_id"]]) if has_actions(row["actions"]) else None
