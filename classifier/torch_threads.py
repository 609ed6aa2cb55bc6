"""Limit torch to a number of threads: a network as small as these is faster on one thread a clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


@contextmanager
def fixed_threads(count: int) -> Iterator[Callable[[], None]]:
    """Limit torch to a number of threads inside the block; yields the function that limits another thread."""

    def limit() -> None:
        torch.set_num_threads(count)

    before = torch.get_num_threads()
    limit()
    try:
        yield limit
    finally:
        torch.set_num_threads(before)
