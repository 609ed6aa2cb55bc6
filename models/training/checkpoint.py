"""Checkpoints of a training run: everything that the next step depends on, written atomically.

A checkpoint is one safetensors file (weights, optimizer state, codebook counts) and one JSON file (the curve so
far). The tensors are written last, so a checkpoint that is found is complete. All noise of a step is drawn from (seed,
step): no generator state is saved, and a run that was killed continues to the same weights, bit for bit.

That holds on one kind of processor with the same library versions and threads. From one kind to another, embeddings
and codes that are initialized from data are the same bytes; random weights and every product of a step differ by
rounding, and so the trained weights differ.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.runtime.weights import WeightsError, pack, unpack
from pipeline.errors import UserError
from pipeline.storage.store import Store

_NAME = re.compile(r"step-(\d+)\.safetensors")


class Checkpoint(NamedTuple):
    """The state after `step` steps."""

    step: int
    tensors: dict[str, Tensor]
    about: dict[str, Any]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run, in a folder of a store; only the newest is kept."""

    store: Store
    folder: str

    def save(self, step: int, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
        """Write the state after `step` steps, then delete older checkpoints."""
        self.store.write_blob(f"{self.folder}/step-{step:08d}.json", json.dumps(about).encode())
        self.store.write_blob(f"{self.folder}/step-{step:08d}.safetensors", pack(tensors))
        for found in self._steps():
            if found < step:
                self._delete(found)

    def latest(self) -> Checkpoint | None:
        """Return the newest checkpoint; None without one.

        Raises:
            UserError: one of its files is damaged.
        """
        steps = self._steps()
        if not steps:
            return None
        key = f"{self.folder}/step-{steps[-1]:08d}"
        try:
            tensors = unpack(self.store.read_blob(f"{key}.safetensors"))
            about = json.loads(self.store.read_blob(f"{key}.json"))
        except (WeightsError, ValueError, FileNotFoundError) as exc:
            raise self.unfit(exc) from exc
        return Checkpoint(steps[-1], tensors, about)

    def unfit(self, why: Exception) -> UserError:
        """Return an error that says why the newest checkpoint cannot be resumed, and what to do."""
        return UserError(
            f"checkpoint {self.folder}, step {self._steps()[-1]}: {why}. Go on with the settings and the lampworks "
            "that wrote it, or delete the folder to train from the first step."
        )

    def clear(self) -> None:
        """Delete all checkpoints, unfinished writes included; called once the model is published."""
        for key in self.store.list_blobs(self.folder):
            self.store.delete(key)

    def _steps(self) -> list[int]:
        names = (key.rsplit("/", 1)[-1] for key in self.store.list_blobs(self.folder))
        return sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))

    def _delete(self, step: int) -> None:
        # the tensors first: a JSON file alone is ignored, tensors alone would be a broken checkpoint
        for end in ("safetensors", "json"):
            self.store.delete(f"{self.folder}/step-{step:08d}.{end}")


def step_generator(seed: int, stream: int, step: int) -> torch.Generator:
    """Return a CPU generator for the noise of one step of one stream."""
    # neighbouring steps must not give related numbers: spread their seeds over 64 bits
    mixed = (seed * 0x9E3779B97F4A7C15 + stream * 0xBF58476D1CE4E5B9 + step * 0x94D049BB133111EB) % 2**63
    return torch.Generator().manual_seed(mixed)
