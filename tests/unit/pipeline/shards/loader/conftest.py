from __future__ import annotations

import pytest

from pipeline.clips.encode import encode_clip
from pipeline.config import ClipConfig
from pipeline.shards.loader.loader import Batch
from pipeline.storage.store import Store
from tests.shards import add_indexed_shards
from tests.windows import SETTINGS, SIZES, clip_id, frames_of, source, take


@pytest.fixture(scope="module")
def mp4s() -> list[bytes]:
    return [encode_clip(frames_of(number), ClipConfig()).mp4 for number in range(sum(SIZES))]


@pytest.fixture
def shards(store: Store, mp4s: list[bytes]) -> Store:
    numbers = iter(range(sum(SIZES)))
    tars = [{clip_id(n): mp4s[n] for n in (next(numbers) for _ in range(size))} for size in SIZES]
    add_indexed_shards(store, tars)
    return store


@pytest.fixture
def expected(shards: Store) -> list[Batch]:
    """Forty batches, decoded in one process; the clips have 20 in an epoch."""
    with source(shards, keep=99) as windows:
        return take(windows.loader(SETTINGS), 40)
