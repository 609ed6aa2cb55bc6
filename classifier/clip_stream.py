"""Stream clips: their frames are read ahead of the network, in order, with a bounded number of clips in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
from PIL import UnidentifiedImageError

from pipeline.clips.geometry import Frames
from pipeline.clips.read import FRAME_COLUMNS, read_frames
from pipeline.storage.store import Store

Row = Mapping[str, Any]
READERS = 4
AHEAD = 64
"""Clips whose frames are in memory at a time (22 MB at 8 frames of 160x90)."""
_ROWS = 256
_In = TypeVar("_In")
_Out = TypeVar("_Out")

__all__ = ["AHEAD", "FRAME_COLUMNS", "clip_rows", "frames_ahead", "map_ahead", "pictures_ahead"]


def clip_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table; few of them are Python objects at a time."""
    for part in table.to_batches(max_chunksize=_ROWS):
        yield from part.to_pylist()


def frames_ahead(store: Store, rows: Iterable[Row]) -> Iterator[tuple[Row, Frames | Exception]]:
    """Yield each row of `clips` (with `FRAME_COLUMNS`) with its stored frames, uint8 (K, H, W, 3), in order.

    Where the frames of a clip cannot be read, the error stands in their place (see `pictures_ahead`).
    """
    return pictures_ahead(partial(read_frames, store), rows)


def pictures_ahead(read_one: Callable[[Row], _Out], rows: Iterable[Row]) -> Iterator[tuple[Row, _Out | Exception]]:
    """Yield each row of `clips` with what `read_one` makes of its frames, in order.

    Where the frames of a clip cannot be read, the error stands in their place: a damaged or missing tar costs its own
    clips only. Any other error is a bug and is raised.
    """

    def read(row: Row) -> tuple[Row, _Out | Exception]:
        try:
            return row, read_one(row)
        except UnidentifiedImageError:
            # its own message names an address in memory, another one at every run
            return row, ValueError("its frames are no picture")
        except (OSError, EOFError, ValueError) as exc:
            return row, exc

    return map_ahead(read, rows, READERS)


def map_ahead(
    function: Callable[[_In], _Out],
    items: Iterable[_In],
    workers: int,
    *,
    ahead: int = AHEAD,
    initializer: Callable[[], None] | None = None,
) -> Iterator[_Out]:
    """Yield the function of each item in order, computed in threads, with at most `ahead` items under way."""
    with ThreadPoolExecutor(workers, initializer=initializer) as pool:
        waiting: deque[Future[_Out]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
