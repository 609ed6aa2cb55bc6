"""Checkpoints that are not what was written: `lampworks doctor --deep` names them, before a training needs one.

for found in damaged_checkpoints(store):
    print(found.folder, found.step, found.why)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from models.training.checkpoint import Checkpoints
from pipeline.errors import UserError
from pipeline.storage.store import Store

_KEY = re.compile(r"(models/[^/]+/runs/[^/]+/checkpoints)/step-\d+\.safetensors")


class DamagedCheckpoint(NamedTuple):
    """A checkpoint that no training can go on from."""

    folder: str
    step: int
    why: str
    keys: tuple[str, str]
    """Its two files: tensors and JSON."""


def damaged_checkpoints(store: Store) -> Iterator[DamagedCheckpoint]:
    """Yield the damaged checkpoints of every run; holds one checkpoint at a time in memory."""
    folders = sorted({match[1] for key in store.list_blobs("models") if (match := _KEY.fullmatch(key))})
    for folder in folders:
        checkpoints = Checkpoints(store, folder)
        for step in checkpoints.steps():
            try:
                checkpoints.read(step)
            except UserError as exc:
                name = f"{folder}/step-{step:08d}"
                yield DamagedCheckpoint(folder, step, str(exc), (f"{name}.safetensors", f"{name}.json"))
