"""Batches of kept videos, the unit of partitions: `2026w47-0001` is the first one of that ISO week.

A video that has a batch keeps it, and a batch never grows: what a later search finds goes into new batches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from pipeline.storage.arrow import pc
from pipeline.storage.store import Store


def batches(store: Store) -> list[str]:
    """Return the names of all batches, in order."""
    return sorted(str(name) for name in pc.unique(store.read("videos", ["batch"])["batch"]).to_pylist() if name)


def assign_batches(store: Store, rows: list[dict[str, Any]], size: int, moment: datetime) -> list[str]:
    """Put kept rows without a batch into new batches, in the order of the rows, and return the new names.

    Args:
        store: its `videos` tell which names are taken.
        rows: of `videos`; their `batch` is set in place.
        size: most videos of a batch.
        moment: the time of the search, which names the week.
    """
    waiting = [row for row in rows if row["verdict"] == "kept" and not row["batch"]]
    if not waiting:
        return []
    names = _new_names(batches(store), moment)
    made = []
    for start in range(0, len(waiting), size):
        made.append(next(names))
        for row in waiting[start : start + size]:
            row["batch"] = made[-1]
    return made


def _new_names(taken: Iterable[str], moment: datetime) -> Iterator[str]:
    """Yield `2026w47-0001` and on: ISO year and week, and a number that goes on from the week's last."""
    year, week, _ = moment.isocalendar()
    prefix = f"{year}w{week:02d}-"
    numbers = [int(name.removeprefix(prefix)) for name in taken if re.fullmatch(rf"{prefix}\d+", name)]
    number = max(numbers, default=0)
    while True:
        number += 1
        yield f"{prefix}{number:04d}"
