"""Checkpoints of a training run: everything that the next step depends on, written atomically.

A checkpoint is one safetensors file (weights, optimizer state, codebook counts) and one JSON file (the curve so
far, the settings). Both hold checksums. The tensors are written last, so a checkpoint that is found is complete. Which
ones are kept says `models.training.keep`; where the newest is damaged, a run goes on from the one before.

All noise of a step is drawn from (seed, step): no generator state is saved, and a run that was killed continues to the
same weights, bit for bit.
That holds on one kind of processor with the same library versions and threads. From one kind to another, embeddings
and codes that are initialized from data are the same bytes; random weights and every product of a step differ by
rounding, and so the trained weights differ.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.runtime.weights import WeightsError, unpack, write_packed
from models.training.finite import NotFiniteError, check_tensors
from models.training.keep import Keep
from pipeline.errors import UserError
from pipeline.progress import ProgressCallback, notify
from pipeline.storage.store import Store

_NAME = re.compile(r"step-(\d+)\.safetensors")
_OWN = ("step-", ".tmp-")  # `run.json`, which says what the run is, stays


class Checkpoint(NamedTuple):
    """The state after `step` steps."""

    step: int
    tensors: dict[str, Tensor]
    about: dict[str, Any]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run, in a folder of a store."""

    store: Store
    folder: str
    policy: Keep = field(default_factory=Keep)
    """Which ones stay when another is written."""

    def save(self, step: int, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        """Write the state after `step` steps, then delete those that the policy does not keep.

        Raises:
            NotFiniteError: a tensor is not finite; nothing is written then.
        """
        check_tensors(tensors)
        self.write(step, tensors, about)

    def write(self, step: int, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        """Do what `save` does with tensors that are known to be finite."""
        key = f"{self.folder}/step-{step:08d}"
        self.store.write_blob(f"{key}.json", _sealed(about))
        with self.store.write_file(f"{key}.safetensors") as file:
            write_packed(tensors, file)
        self.keep_by_policy(step)

    def keep_by_policy(self, step: int) -> None:
        """Delete all checkpoints but those that the policy keeps, given the newest one."""
        # one with a later step is left over from before a damaged one: the run has gone on from an earlier step
        found = [each for each in self.steps() if each <= step]
        scores = {each: self._score(each) for each in found} if self.policy.best else {}
        self.keep(self.policy.kept(found, scores))

    def latest(self, on_progress: ProgressCallback | None = None) -> Checkpoint | None:
        """Return the newest checkpoint that is whole and finite; None without any checkpoint.

        Args:
            on_progress: is told of each newer one that is damaged.

        Raises:
            UserError: all of them are damaged.
        """
        errors: list[UserError] = []
        for step in reversed(self.steps()):
            try:
                found = self.read(step)
            except UserError as exc:
                errors.append(exc)
                continue
            for error in errors:
                notify(f"{error}; the run goes on from the checkpoint of step {step} instead", on_progress)
            return found
        if errors:
            raise UserError(
                f"{'; '.join(map(str, errors))}. Restore the files, or delete the folder {self.folder} of the root to "
                "train from the first step."
            )
        return None

    def read(self, step: int) -> Checkpoint:
        """Return the checkpoint of a step; UserError where there is none, or it is damaged or not finite."""
        key = f"{self.folder}/step-{step:08d}"
        try:
            tensors = unpack(self.store.read_blob(f"{key}.safetensors"))
            about = _unsealed(self.store.read_blob(f"{key}.json"))
            check_tensors(tensors)
        except (WeightsError, FileNotFoundError, NotFiniteError) as exc:
            why = "the file is not there" if isinstance(exc, FileNotFoundError) else exc
            raise UserError(f"checkpoint {self.folder}, step {step}: {why}") from exc
        return Checkpoint(step, tensors, about)

    def unfit(self, step: int, why: Exception) -> UserError:
        """Return an error that says why a checkpoint does not fit this training, and what to do."""
        return UserError(
            f"checkpoint {self.folder}, step {step}: {why}. Go on with the lampworks that wrote it, or delete the "
            f"folder {self.folder} of the root to train from the first step."
        )

    def steps(self) -> list[int]:
        """Return the steps of which there is a checkpoint, in rising order."""
        names = (key.rsplit("/", 1)[-1] for key in self.store.list_blobs(self.folder))
        return sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))

    def keep(self, steps: list[int]) -> None:
        """Delete all checkpoints but those of these steps, unfinished writes included."""
        kept = {f"step-{step:08d}" for step in steps}
        # the tensors first: a JSON file alone is ignored, tensors alone would be a broken checkpoint
        for key in sorted(self.store.list_blobs(self.folder), key=lambda key: not key.endswith(".safetensors")):
            name = key.rsplit("/", 1)[-1]
            if name.startswith(_OWN) and name.partition(".")[0] not in kept:
                self.store.delete(key)

    def _score(self, step: int) -> float | None:
        """Return the score of a checkpoint; None where it has none by the policy's metric, or its file is damaged."""
        try:
            about = _unsealed(self.store.read_blob(f"{self.folder}/step-{step:08d}.json"))
        except (WeightsError, FileNotFoundError):
            return None
        score = about.get("score") if about.get("judged_by") == self.policy.best_by else None
        return float(score) if isinstance(score, int | float) else None


def _sealed(about: Mapping[str, Any]) -> bytes:
    """Return JSON with its checksum."""
    # in the order that it has: a curve that was loaded is published with the same bytes as one that was not
    text = json.dumps(about)
    return json.dumps({"about": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}).encode()


def _unsealed(data: bytes) -> dict[str, Any]:
    """Return what `_sealed` was given; WeightsError where the file is damaged."""
    try:
        sealed = json.loads(data)
        text = sealed["about"]
        if hashlib.sha256(text.encode()).hexdigest() == sealed["sha256"]:
            about: dict[str, Any] = json.loads(text)
            return about
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise WeightsError(f"the JSON file of {len(data)} bytes is damaged or cut short") from exc
    raise WeightsError("the JSON file is damaged (it does not give its checksum)")


def step_generator(seed: int, stream: int, step: int) -> torch.Generator:
    """Return a CPU generator for the noise of one step of one stream."""
    # neighbouring steps must not give related numbers: spread their seeds over 64 bits
    mixed = (seed * 0x9E3779B97F4A7C15 + stream * 0xBF58476D1CE4E5B9 + step * 0x94D049BB133111EB) % 2**63
    return torch.Generator().manual_seed(mixed)
