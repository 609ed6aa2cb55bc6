"""Save a training's state beside its steps: a step waits for a copy in memory, never for the disk.

    with Saver(checkpoints) as saver:
        saver.prepare(training.tensors())               # returns at once; takes the memory of the copy
        saver.save(step, training.tensors(), about)     # returns once the state is copied
        saver.check()                                   # raises what the write of before ended with
        saver.wait()                                    # returns once the write has ended

One write is under way at a time: the next `save` waits for it, so that memory holds one copy of the state. The copy is
made in the same memory each time, which is taken before the first one: on a CPU, taking it costs ten times the copy.
"""

from __future__ import annotations

import copy
import errno
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from models.training.checkpoint import Checkpoints
from pipeline.errors import StoreError, UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk without room."""
WRITING, PREPARING = "checkpoint", "memory of checkpoints"
"""Names of the threads that a saver starts."""
_PAUSES_S = (1.0, 5.0, 20.0)
"""Before each further try to write to an object store."""


class SaveError(UserError):
    """A checkpoint could not be written; those before are as they were."""


class Saver:
    """Writes the checkpoints of one run in a thread of its own."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        good: int | None = None,
        *,
        stage: str = "training",
        pauses_s: Sequence[float] | None = None,
    ) -> None:
        """Write to a run's checkpoints.

        Args:
            checkpoints: of the run.
            good: step of the newest one that is there.
            stage: how errors call the run.
            pauses_s: before each further try of a write that failed; by default none in a folder.
        """
        self._checkpoints, self._stage = checkpoints, stage
        self._pauses_s = pauses_s if pauses_s is not None else () if checkpoints.store.is_local else _PAUSES_S
        self.good = good
        """Step of the newest checkpoint that is written whole; None without any."""
        self._copies: dict[str, Tensor] = {}
        self._thread: threading.Thread | None = None
        self._preparing: threading.Thread | None = None
        self._failed: BaseException | None = None

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.join()

    def prepare(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the memory of a copy of tensors beside the steps: a first save would wait for each page of it."""
        self._join_preparing()
        kinds = {name: (tensor.shape, tensor.dtype, tensor.is_cuda) for name, tensor in tensors.items()}
        self._preparing = threading.Thread(target=self._prepare, args=(kinds,), daemon=True, name=PREPARING)
        self._preparing.start()

    def save(self, step: int, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        """Copy the state after `step` steps, which is finite, and begin to write it.

        Raises:
            SaveError: the write before this one failed.
        """
        self.wait()
        # points of the curve never change, and are many
        told = {name: list(value) if name == "curve" else copy.deepcopy(value) for name, value in about.items()}
        copies = self._copied(tensors)
        # ends with the process: a file that is half written has a temporary name
        self._thread = threading.Thread(target=self._write, args=(step, copies, told), daemon=True, name=WRITING)
        self._thread.start()

    def check(self) -> None:
        """Raise a SaveError if a write has failed."""
        if self._failed is not None:
            failed, self._failed = self._failed, None
            if not isinstance(failed, OSError):
                raise failed
            raise SaveError(self._told(failed)) from failed

    def wait(self) -> None:
        """Wait until nothing is being written; errors as of `check`."""
        self.join()
        self.check()

    def join(self) -> None:
        """Wait until nothing is being written, whatever becomes of it."""
        self._join_preparing()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _join_preparing(self) -> None:
        if self._preparing is not None:
            self._preparing.join()
            self._preparing = None

    def _prepare(self, kinds: Mapping[str, tuple[torch.Size, torch.dtype, bool]]) -> None:
        try:
            for name, kind in kinds.items():
                memory, is_new = self._memory(name, *kind)
                if is_new:
                    memory.zero_()
        except BaseException as exc:  # raised in the thread that takes the steps
            self._failed = exc

    def _memory(self, name: str, shape: torch.Size, dtype: torch.dtype, pinned: bool) -> tuple[Tensor, bool]:
        """Return the memory of a tensor's copy, and whether it is new."""
        found = self._copies.get(name)
        if found is not None and found.shape == shape and found.dtype == dtype:
            return found, False
        self._copies[name] = torch.empty(shape, dtype=dtype, pin_memory=pinned)
        return self._copies[name], True

    def _copied(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors in memory of the CPU that no step changes."""
        for name in set(self._copies) - set(tensors):
            del self._copies[name]
        waits = False
        for name, tensor in tensors.items():
            found, _ = self._memory(name, tensor.shape, tensor.dtype, tensor.is_cuda)
            found.copy_(tensor.detach(), non_blocking=tensor.is_cuda)
            waits |= tensor.is_cuda
        if waits:
            torch.cuda.synchronize()
        return dict(self._copies)

    def _write(self, step: int, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        pauses = iter(self._pauses_s)
        while True:
            try:
                self._checkpoints.write(step, tensors, about)
            except (OSError, StoreError) as exc:
                pause = next(pauses, None)
                if pause is not None and getattr(exc, "errno", None) not in FULL:
                    time.sleep(pause)
                    continue
                exc.add_note(f"checkpoint of step {step}")
                self._failed = exc
            except BaseException as exc:  # raised in the thread that takes the steps
                self._failed = exc
            else:
                self.good = step
            return

    def _told(self, failed: OSError) -> str:
        what = f"{self._stage}: a checkpoint could not be written to {self._checkpoints.folder} ({failed})"
        if failed.errno in FULL:
            way = "Free space there (`lampworks gc --checkpoints --keep last` deletes all but the last one of each run)"
        else:
            way = "Make the root writable"
        return f"{what}. {left(self.good)} {way}, and start again: {goes_on(self.good)}."


def left(good: int | None) -> str:
    """Return what is left of a run that ends before its last step."""
    return "No checkpoint was written yet." if good is None else f"The checkpoint of step {good} is good and stays."


def goes_on(good: int | None) -> str:
    """Return where a run that was stopped goes on."""
    return "it begins at the first step" if good is None else f"it goes on from step {good}"
