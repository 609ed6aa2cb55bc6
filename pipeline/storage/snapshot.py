"""A store as it was: each table is opened once and stays at that version, for reports that read tables many times.

    seen = snapshot_of(store)
    status(seen, config)

On S3, opening a table takes about ten requests, and every figure of a report wants a table of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from pipeline.storage.store import Store


class Snapshot(Store):
    """A store that reads each table as it was when it was first opened; what is written meanwhile is not seen.

    For one thread. A table of which a takedown deletes the files meanwhile is opened anew.
    """

    def __init__(self, root: str | Path, storage_options: Mapping[str, str] | None = None) -> None:
        """Open a root without creating it; arguments and errors as of `Root`."""
        super().__init__(root, storage_options)
        self._seen: dict[str, DeltaTable | None] = {}
        self._commits: dict[tuple[str, int], list[dict[str, Any]]] = {}

    def version(self, name: str) -> int:
        """Return the version of the table that is read here; -1 where there was none."""
        table = self._open(name)
        return -1 if table is None else int(table.version())

    def _opened(self, name: str) -> DeltaTable | None:
        if name not in self._seen:
            self._seen[name] = super()._opened(name)
        return self._seen[name]

    def _to_read(self, name: str) -> DeltaTable | None:
        return self._open(name)

    def _forget_opened(self, name: str) -> None:
        self._seen.pop(name, None)

    def _history(self, name: str, most: int) -> Iterator[dict[str, Any]]:
        if (name, most) not in self._commits:
            self._commits[name, most] = list(super()._history(name, most))
        yield from self._commits[name, most]


def snapshot_of(store: Store) -> Store:
    """Return a store's snapshot from now on; one that is a snapshot already is returned as it is."""
    return store if isinstance(store, Snapshot) else Snapshot(store.root, store.storage_options)
