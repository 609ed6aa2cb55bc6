"""Read token shards: the tokens of a clip's windows, or of one window alone.

    for clip in read_token_clips(store, "train"):
        tokens_WTP = clip.read(store)
        tokens_TP = clip.read_window(store, 0)     # the window that begins at frame clip.starts[0]

Shapes: W windows, T frames of a window, P tokens of a frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.clips.samples import BAD_SAMPLE
from pipeline.errors import PermanentError
from pipeline.shards.splits import Split
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store
from pipeline.tokens.files import TokenLayout, layout_of, read_token_index
from pipeline.tokens.packing import Tokens, unpack


@dataclass(frozen=True)
class TokenClip:
    """Where the tokens of a clip lie."""

    clip_id: str
    video_id: str
    starts: tuple[int, ...]
    """First frame of each window."""
    layout: TokenLayout
    path: str
    """Blob key of the tar."""
    offset: int
    size: int
    sha256: str
    """Of the bytes of its windows."""

    def read(self, store: Store) -> Tokens:
        """Return the tokens of all its windows, uint16 (W, T, P), compared with their hash.

        Raises:
            PermanentError: the tar does not hold the bytes that were written (`bad_sample`).
        """
        data = self._bytes(store, self.offset, self.size)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            why = f"clip {self.clip_id}: its tokens in {self.path} are not those that were written"
            raise PermanentError(why, error_class=BAD_SAMPLE)
        size = self.layout.window_bytes
        return np.stack([self._unpacked(data[first : first + size]) for first in range(0, len(data), size)])

    def read_window(self, store: Store, number: int) -> Tokens:
        """Return the tokens of one of its windows, uint16 (T, P), by one ranged read without a hash.

        Raises:
            PermanentError: the tar ends before it (`bad_sample`).
        """
        size = self.layout.window_bytes
        return self._unpacked(self._bytes(store, self.offset + range(len(self.starts))[number] * size, size))

    def _bytes(self, store: Store, offset: int, size: int) -> bytes:
        try:
            return store.read_range(self.path, offset, size)
        except (EOFError, FileNotFoundError) as exc:
            why = f"clip {self.clip_id}: its tokens are not in {self.path}"
            raise PermanentError(why, error_class=BAD_SAMPLE) from exc

    def _unpacked(self, data: bytes) -> Tokens:
        positions = self.layout.grid_rows * self.layout.grid_columns
        return unpack(data, self.layout.window * positions, self.layout.bits).reshape(self.layout.window, positions)


def read_token_clips(store: Store, split: Split) -> Iterator[TokenClip]:
    """Yield the clips of a split that have tokens, in the order of their files; an index is read when its turn comes.

    Raises:
        DamagedError: an index is not what was written.
    """
    rows = store.read("tokens", where=pc.field("split") == split).sort_by("path").to_pylist()
    for row in rows:
        yield from clips_of(store, row)


def clips_of(store: Store, row: Mapping[str, Any]) -> Iterator[TokenClip]:
    """Yield the clips of a row of `tokens` that have tokens; DamagedError where its index is not what was written."""
    layout = layout_of(row)
    for entry in read_token_index(store, row).to_pylist():
        if entry["problem"] is None:
            yield TokenClip(
                entry["clip_id"], entry["video_id"], tuple(entry["starts"]), layout, row["path"],
                entry["offset"], entry["size"], entry["sha256"],
            )  # fmt: skip
