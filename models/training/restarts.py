"""How often a group of processes was started again, and why: bounded, and kept beside the checkpoints."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from pipeline.storage.store import Store

NAME = "restarts.json"


class Restarts:
    """Counts starts of a group after the first one."""

    def __init__(self, store: Store, most: int) -> None:
        """Begin with none.

        Args:
            store: has the folder of the run.
            most: restarts in a row without another checkpoint (`training.restarts`).
        """
        self._store, self._most = store, most
        self._folder: str | None = None
        self._step = self._without_progress = 0
        self._reasons: list[str] = []

    @property
    def number(self) -> int:
        """Return how often the group was started again."""
        return len(self._reasons)

    def begun(self, folder: str, step: int) -> None:
        """Note where the run's checkpoints are, and the step that the group began at."""
        self._folder = folder
        if step > self._step:
            self._step, self._without_progress = step, 0

    def may_go_on(self, reason: str) -> bool:
        """Keep why the group died; return whether it may be started again."""
        self._reasons.append(reason)
        self._without_progress += 1
        if self._folder is not None:
            entry = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "began_at_step": self._step}
            _append(self._store, self._folder, {**entry, "reason": reason})
        return self._without_progress <= self._most

    def sentence(self) -> str:
        """Return how often the group died, and why the last time."""
        again = f" after {self._most} starts without another checkpoint" if self._most else ""
        return (
            f"the processes of the training died{again}: {self._reasons[-1]}. The checkpoints stay: the same command "
            "goes on from the last one; training.restarts says how often that happens by itself"
            f" (now {self._most})."
        )


def read_restarts(store: Store, folder: str) -> list[dict[str, Any]]:
    """Return when and why a run's group of processes was started again, the first time first."""
    try:
        found = json.loads(store.read_blob(f"{folder}/{NAME}"))
    except (FileNotFoundError, ValueError):
        return []
    return list(found) if isinstance(found, list) else []


def _append(store: Store, folder: str, entry: dict[str, Any]) -> None:
    data = json.dumps([*read_restarts(store, folder), entry], indent=1)
    store.write_blob(f"{folder}/{NAME}", data.encode())
