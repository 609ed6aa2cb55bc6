"""Large items of a stage: one after the other here, tasks on a cluster; the results come in the order of the items."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.clips.buckets import buckets_of
from pipeline.config import Config, EngineConfig
from pipeline.copies.find import own_buckets
from pipeline.copies.look import Looks
from pipeline.errors import PermanentError, UserError
from pipeline.job import Job
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from pipeline.workers.spread import spread
from tests.engines import InlineEngine

CLUSTER = EngineConfig(backend="ray", address="127.0.0.1:6379")


class Backwards(InlineEngine):
    """An engine whose items end in the opposite order."""

    def run(self, fn: Any, items: Any, *, initializer: Any = None) -> Iterator[Any]:
        yield from reversed(list(super().run(fn, items, initializer=initializer)))


@pytest.fixture(autouse=True)
def backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.workers.spread.make_engine", lambda *arguments, **options: Backwards())


def half(number: int) -> int:
    if number == 5:
        raise UserError("five is odd: choose another")
    if number == 7:
        raise ValueError("seven is odd")
    return number // 2


@pytest.mark.parametrize("engine", [EngineConfig(), CLUSTER])
def test_results_come_in_the_order_of_the_items_whichever_ends_first(engine: EngineConfig, store: Store) -> None:
    assert list(spread(half, iter([4, 2, 8, 0]), engine, store=store)) == [(4, 2), (2, 1), (8, 4), (0, 0)]


def test_an_item_that_fails_on_a_node_ends_the_stage_with_its_own_error(store: Store) -> None:
    with pytest.raises(UserError, match="five is odd: choose another"):
        list(spread(half, [2, 5], CLUSTER, store=store))
    with pytest.raises(PermanentError, match="ValueError: seven is odd"):
        list(spread(half, [2, 7], CLUSTER, store=store))


def test_buckets_of_a_cluster_hold_the_pairs_of_one_process_and_leave_nothing_behind(store: Store) -> None:
    random = np.random.default_rng(0)
    codes = random.integers(0, 2**64, (40, 16), np.uint64)
    codes[20:] = codes[:20]  # every clip has a copy
    looks = Looks(codes, 8, 10, True)
    clips = np.arange(1, 40)
    job = Job(store, dataclasses.replace(Config(), engine=CLUSTER), home_of(store))
    with buckets_of(job) as buckets:
        found = list(buckets(looks, clips))
    wanted = list(own_buckets(looks, clips))
    assert sum(len(first) for first, _, _ in wanted) > 19
    same = partial(np.testing.assert_array_equal, strict=True)
    for one, other in zip(found, wanted, strict=True):
        for part, same_part in zip(one, other, strict=True):
            same(part, same_part)
    assert store.list_blobs("clips") == []
    assert not any(path.is_file() for path in Path(store.root).rglob("*"))
