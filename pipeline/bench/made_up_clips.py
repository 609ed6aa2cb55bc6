"""Made-up clips for the search for copies: signatures and hashes alone, as the table `clips` has them.

Videos of twelve clips in which three figures walk over a picture. Of every hundred videos, six are copies of others (as
they are, starting later, mirrored, or both) with noise, and a quarter belong to single-screen games: they look alike,
and are played differently.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.clips.load_looks import LOOK_COLUMNS
from pipeline.copies.look import mirrored_codes
from pipeline.copies.signature import CELLS, MIRROR
from pipeline.storage.schemas import SCHEMAS

CLIPS_PER_VIDEO = 12
STEPS = 80
"""Steps of a clip's signature."""
STEP_MS = 200
_PART = 250  # videos made at a time
_COPIES, _ONE_SCREEN = 0.06, 0.25  # shares of the videos
_SHIFTS = (0, 16, 37, 60)  # steps by which copies start later
_FIGURES = 3
_SCHEMA = pa.schema([SCHEMAS["clips"].field(name) for name in LOOK_COLUMNS])

Truth = dict[str, tuple[str, int]]
"""For each video that is a copy: the video it is of, and how many steps later it starts."""


def make_clips(videos: int, truth: Truth) -> Iterator[pa.Table]:
    """Yield the rows of so many videos, a part at a time, and enter those that are copies into `truth`."""
    screen = np.random.default_rng(1).random(1024)
    for part, first in enumerate(range(0, videos, _PART)):
        yield _part(min(_PART, videos - first), np.random.default_rng([2, part]), screen, truth)


def _part(count: int, random: np.random.Generator, screen: npt.NDArray[np.float64], truth: Truth) -> pa.Table:
    """Return the rows of some videos, and enter those that are copies into `truth`."""
    length = CLIPS_PER_VIDEO * STEPS
    names = [f"v{number:016x}" for number in random.integers(0, 1 << 62, count)]
    copies = int(_COPIES * count)
    film = _films(count, length + max(_SHIFTS), random)
    looks = _looks(count, random, screen)
    shifts = np.zeros(count, np.int64)
    for copy in range(count - copies, count):
        original, shifts[copy] = copy - (count - copies), _SHIFTS[copy % len(_SHIFTS)]
        film[copy] = film[original]
        looks[copy] = random.integers(0, 1 << 63, looks[copy].shape, np.uint64) if shifts[copy] else looks[original]
        if copy // len(_SHIFTS) % 2:
            film[copy], looks[copy] = film[copy][:, MIRROR], mirrored_codes(looks[copy])
        truth[names[copy]] = (names[original], int(shifts[copy]))
    noise = random.integers(-1, 2, (length, CELLS), np.int8).astype(np.uint8)
    shown = np.stack([film[video, shift : shift + length] + noise for video, shift in enumerate(shifts)])
    clips = shown.reshape(-1, STEPS, CELLS)
    signatures = np.concatenate([clips[:, :1], np.diff(clips, axis=1)], axis=1).reshape(len(clips), -1)
    starts = np.tile(np.arange(CLIPS_PER_VIDEO) * 16_000, count)
    owners = np.repeat(names, CLIPS_PER_VIDEO)
    columns = {
        "clip_id": [f"{name}-{start:09d}-00000000" for name, start in zip(owners, starts.tolist(), strict=True)],
        "video_id": owners.tolist(),
        "batch": ["2026w47-0001"] * len(owners),
        "start_ms": starts,
        "sha256": [f"{number:016x}" * 4 for number in random.integers(0, 1 << 62, len(owners))],
        "hashes": _binary(_hashes(looks.reshape(len(owners), -1))),
        "signature": _binary(signatures),
    }
    return pa.table(columns, schema=_SCHEMA)


def _films(count: int, length: int, random: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return coarse pictures (count, length, CELLS) over which figures walk from cell to cell."""
    film = np.repeat(random.integers(60, 160, (count, 1, CELLS), np.uint8), length, axis=1)
    rows, steps = np.arange(count)[:, None], np.arange(length)[None]
    for _ in range(_FIGURES):
        # a figure stays in a cell for about a second
        moves = np.cumsum(random.random((count, length)) < 0.2, axis=1, dtype=np.int64)
        path = random.integers(0, CELLS, (count, int(moves.max()) + 1))
        film[rows, steps, np.take_along_axis(path, moves, axis=1)] = 200
    return film


def _looks(count: int, random: np.random.Generator, screen: npt.NDArray[np.float64]) -> npt.NDArray[np.uint64]:
    """Return look codes (count, CLIPS_PER_VIDEO, words); those of single-screen games differ little from `screen`."""
    places = random.random((count, CLIPS_PER_VIDEO, 512))
    single = random.random(count) < _ONE_SCREEN
    flips = random.random((int(single.sum()), CLIPS_PER_VIDEO, 512)) < 0.03
    places[single] = np.where(flips, places[single], screen[:512])
    rises, falls = np.packbits(places < 0.35, axis=2), np.packbits(places > 0.65, axis=2)
    return np.concatenate([rises, falls], axis=2).view(np.uint64)


def _hashes(codes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """Return the hashes (N, bytes) whose codes these are."""
    turned = mirrored_codes(codes).view(np.uint8)
    data = codes.view(np.uint8)
    half = data.shape[1] // 2
    return np.concatenate([data[:, :half], turned[:, :half]], axis=1)


def _binary(rows: npt.NDArray[np.uint8]) -> pa.Array[Any]:
    data = np.ascontiguousarray(rows)
    fixed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(data.shape[1]), len(data), [None, pa.py_buffer(data.tobytes())]
    )
    return fixed.cast(pa.binary())
