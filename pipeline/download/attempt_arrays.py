"""Attempts as arrays of numbers: what the ledger computes states from, 60 bytes an attempt.

The table `downloads` is read in parts, and what is text in it (ids, states, classes of errors) becomes numbers part by
part, so that memory never holds the texts of all attempts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.download.file_versions import file_versions
from pipeline.sources.faults import UNCOUNTED
from pipeline.storage.arrow import Column, in_parts, pc
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store

STATES = ("pending", "ok", "failed", "rejected", "taken_down", "dropped", "retried")
_NEVER = np.iinfo(np.int64).min
_PART_ROWS = 1 << 19
_NUMBERS = ("video_id", "attempt", "state", "finished_at")
"""Columns that become arrays of numbers; what the ledger shows of an attempt stays in a table."""


@dataclass(frozen=True)
class Barriers:
    """The last attempt of each video that counts no more, as its number and time; -1 where all attempts count."""

    numbers: Any
    times: Any


@dataclass(frozen=True)
class CodedAttempts:
    """Attempts in the order of their table."""

    codes: Any
    """Place of the video among those given; -1 for any other."""
    times: Any
    """When each ended, in microseconds."""
    numbers: Any
    states: Any
    """Place in `STATES`."""
    refusals: Any
    """Whether it was refused by the site as a whole, which does not count against the video."""
    rest: pa.Table
    """The other columns, a row each."""


def coded(rows: Iterable[pa.Table], ids: Column) -> CodedAttempts:
    """Return attempts as numbers.

    Args:
        rows: of `downloads`, in parts, at least one: `_NUMBERS`, `error_class`, and what shall be shown of them.
        ids: of the videos.
    """
    parts = [_coded(part, ids) for part in rows]
    names = ("codes", "times", "numbers", "states", "refusals")
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return CodedAttempts(**columns, rest=pa.concat_tables([part.rest for part in parts]).unify_dictionaries())


def attempts_of(store: Store, columns: Sequence[str], ids: Column, where: Any = None) -> CodedAttempts:
    """Return the attempts of the table `downloads` as numbers, without ever holding its texts."""
    none = pa.schema([SCHEMAS["downloads"].field(name) for name in columns]).empty_table()
    parts = in_parts(store.scan("downloads", columns, where), _PART_ROWS)
    return coded(itertools.chain([none], parts), ids)


def _coded(rows: pa.Table, ids: Column) -> CodedAttempts:
    states = pc.index_in(rows["state"], value_set=pa.array(STATES, pa.string()))
    refusals = pc.is_in(rows["error_class"], value_set=pa.array(sorted(UNCOUNTED), pa.string()))
    rest = rows.drop_columns([name for name in _NUMBERS if name in rows.column_names])
    place = rest.column_names.index("error_class")
    return CodedAttempts(
        codes=pc.fill_null(pc.index_in(rows["video_id"], value_set=ids), -1).to_numpy().astype(np.int32),
        times=pc.fill_null(rows["finished_at"].cast(pa.int64()), _NEVER).to_numpy(),
        numbers=pc.fill_null(rows["attempt"], 0).to_numpy().astype(np.int32),
        states=pc.fill_null(states, STATES.index("pending")).to_numpy().astype(np.int8),
        refusals=pc.fill_null(refusals, False).to_numpy(),
        # a few classes, many times
        rest=rest.set_column(place, "error_class", rows["error_class"].dictionary_encode()),
    )


class Attempts:
    """Attempts of the given videos as arrays of numbers, sorted by video, number and time."""

    def __init__(self, videos: pa.Table, found: CodedAttempts) -> None:
        # by number first: a clock that was set back does not make the last attempt an earlier one
        order = np.lexsort((found.times, found.numbers, found.codes)).astype(np.int32)
        # attempts of other videos come first: leave them out
        order = order[np.searchsorted(found.codes[order], 0) :]
        self.size, self.rows, self.place = len(videos), found.rest, order
        self.codes, self.times, self.numbers = found.codes[order], found.times[order], found.numbers[order]
        self.states, self.refusals = found.states[order], found.refusals[order]

    def barriers(self, videos: pa.Table) -> Barriers:
        """Return the last attempt of each video at another file than its present one, or the last retry of it."""
        ended = self.are("retried")
        if "size_bytes" in videos.column_names and "file_version" in self.rows.column_names:
            ended = ended | self._at_another_file(videos)
        last = self.last(ended)
        numbers, times = np.full(self.size, -1), np.full(self.size, _NEVER)
        numbers[last >= 0], times[last >= 0] = self.numbers[last[last >= 0]], self.times[last[last >= 0]]
        return Barriers(numbers, times)

    def _at_another_file(self, videos: pa.Table) -> Any:
        if videos["size_bytes"].null_count == len(videos):  # none is a file of a folder
            return np.zeros(len(self.codes), bool)
        present = file_versions(videos).take(pa.array(self.codes, pa.int64()))
        tried = self.rows["file_version"].combine_chunks().take(pa.array(self.place, pa.int64()))
        differs = pc.fill_null(pc.not_equal(present, tried), False).to_numpy(zero_copy_only=False)
        # rows from before versions were kept: the file changed after the attempt
        moments = pc.fill_null(videos["modified_at"].cast(pa.int64()), _NEVER).to_numpy()[self.codes]
        unknown = pc.is_null(tried).to_numpy(zero_copy_only=False) & pc.is_valid(present).to_numpy(zero_copy_only=False)
        return differs | (unknown & ~self.are("dropped") & (moments > self.times))

    def after(self, barriers: Barriers) -> Any:
        """Return which rows come after the barrier of their video."""
        numbers, times = barriers.numbers[self.codes], barriers.times[self.codes]
        return (self.numbers > numbers) | ((self.numbers == numbers) & (self.times > times))

    def count_from(self, barriers: Barriers) -> None:
        """Forget the rows up to the barrier of their video."""
        if not (barriers.numbers >= 0).any():  # as in next to all stores
            return
        kept = self.after(barriers)
        self.place, self.codes, self.times = self.place[kept], self.codes[kept], self.times[kept]
        self.numbers, self.states, self.refusals = self.numbers[kept], self.states[kept], self.refusals[kept]

    def are(self, state: str) -> Any:
        """Return which rows have a state."""
        return self.states == STATES.index(state)

    def counts(self, mask: Any) -> Any:
        """Count the rows of a mask by video."""
        return np.bincount(self.codes[mask], minlength=self.size)

    def highest_number(self) -> Any:
        """Return the highest number of an attempt by video."""
        highest = np.zeros(self.size, np.int64)
        np.maximum.at(highest, self.codes, self.numbers)
        return highest

    def last(self, mask: Any) -> Any:
        """Return, by video, the latest row of a mask; -1 where there is none."""
        found = np.full(self.size, -1)
        index = np.flatnonzero(mask)
        found[self.codes[index]] = index  # in order of time: the latest is written last
        return found

    def first_kept_file(self) -> Any:
        """Return, by video, the earliest success after its file was last dropped; -1 where there is none."""
        dropped = self.last(self.are("dropped"))
        index = np.flatnonzero(self.are("ok"))
        index = index[index > dropped[self.codes[index]]]
        found = np.full(self.size, -1)
        found[self.codes[index[::-1]]] = index[::-1]
        return found

    def add_columns(self, columns: dict[str, Any], names: Iterable[str], index: Any) -> None:
        """Add the named columns, one row per video, as far as these attempts have them."""
        rows = np.full(self.size, -1)
        rows[index >= 0] = self.place[index[index >= 0]]
        for name in names:
            if name in self.rows.column_names:
                columns[name] = _taken(self.rows[name], rows)


def _taken(column: Any, rows: Any) -> Any:
    found = column.take(pa.array(rows, pa.int64(), mask=rows < 0))
    return found.cast(pa.string()) if pa.types.is_dictionary(found.type) else found
