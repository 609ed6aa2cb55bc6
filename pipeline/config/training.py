"""Configuration of what all training runs share: seed, device, precision, memory, checkpoints, bad samples."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt
from pydantic_core import PydanticCustomError

from pipeline.config.section import Count, Section, Share
from pipeline.errors import UserError

_GO_ON = re.compile(r"[^@]*(@[0-9]{1,12})?")
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):\d{1,5}")


def _id(value: Any) -> Any:
    if value is None:  # what YAML reads after `training.go_on=`
        return ""
    if isinstance(value, int | float):
        raise PydanticCustomError("model_id", "an id of digits alone needs quotes: YAML reads it as a number")
    return value


def _switch(value: Any) -> Any:
    """Return `on` or `off` for what YAML reads as true or false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def _is_address(text: str) -> bool:
    return _ADDRESS.fullmatch(text) is not None and 0 < int(text.rpartition(":")[2]) < 1 << 16


ModelId = Annotated[str, BeforeValidator(_id)]
"""An id of a model or run, or the start of one."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Section, name="training"):
    """What all training runs share."""

    seed: NonNegativeInt = 0
    """Same seed, same weights on the same machine."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes the GPU where there is one."""
    dtype: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the matrix products; `auto` takes bf16 where the hardware multiplies it fast."""
    threads: NonNegativeInt = 0
    """CPU threads; 0 means one per core. Of each process, where there are several: 0 divides the cores among them."""
    processes: Count = 1
    """Processes on this machine that train one model together: one per GPU. Each computes its part of every batch; the
    batch, and so the model, does not depend on their number."""
    nodes: Count = 1
    """Machines that train one model together; the same command is started on each of them."""
    rendezvous: str = ""
    """HOST:PORT at which several machines find each other: an address of one of them, and a port that is free there."""
    launch: Literal["auto", "in_process", "torchrun"] = "auto"
    """Where Dagster trains: in its own process, or in processes that torchrun starts; `auto` does so where there are
    several. Either trains the same model."""
    weights: Literal["replicated", "sharded"] = "replicated"
    """Whether each process holds all weights, gradients and optimizer states, or a part of those of each block (FSDP2:
    fully sharded), for networks that a GPU does not hold."""
    restarts: NonNegativeInt = 3
    """Times that a group of processes of which one died is started again from its last checkpoint, without having
    reached another checkpoint in between; then the training fails with the reasons."""
    accumulate: Count = 1
    """Micro-batches: a step computes its batch in this many parts, one after another, so its memory is that of a part.
    The gradient is that of the whole batch up to rounding (as `threads`), so the model's id stays the same."""
    start_from: ModelId = ""
    """Id of a published model (or its unique start) whose weights the training begins with, at step 0 with a fresh
    optimizer. A world brings its tokenizer as it is. Empty: random weights."""
    go_on: ModelId = ""
    """Id of a model or run (or its unique start) from whose last checkpoint, with optimizer and step, the training goes
    on: with other rates, schedule, dtype, batch, steps or weights of losses. A world brings its tokenizer as it is.
    `ID@STEP` goes on from an earlier checkpoint that was kept (`keep_every`, `keep_best`)."""
    checkpoint_every: Count = 1000
    """Steps between checkpoints, from which a killed run goes on. They are written beside the steps."""
    keep_last: Count = 2
    """Newest checkpoints that are kept of a run in progress: where one is damaged, the one before it is used."""
    keep_every: NonNegativeInt = 0
    """Also keeps each checkpoint whose step is a multiple of this (best a multiple of `checkpoint_every`); 0: none."""
    keep_best: NonNegativeInt = 0
    """Also keeps so many of the best checkpoints, by `best_by`."""
    best_by: str = "loss"
    """Metric of the steps by which checkpoints are judged: its mean since the checkpoint before, the lowest of a loss,
    the highest of any other, as `psnr` or, where it is measured on the way, `held_out/psnr`."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of a moving average of the weights (EMA), as 0.999: the model is published, measured and played with the
    averaged weights, and a run goes on with its own ones; 0: no average. (`tokenizer.ema_decay` is that of the codes.)
    """
    on_bad_step: Literal["stop", "skip", "roll_back"] = "stop"
    """A step whose gradient is not finite, or whose loss is a spike, ends the run (`stop`), changes no weight (`skip`),
    or takes the run back to its last checkpoint, with all learning rates lowered (`roll_back`). The last checkpoint
    stays good in any case. No part of a model's id: a run of which no step is bad is the same; the model's row names
    the others."""
    spike_factor: Annotated[float, Field(ge=0)] = 0.0
    """A loss of more than so many times the median of the last 64 steps is a spike, from the 17th step on; 0: none is.
    """
    max_bad_steps: Count = 10
    """Steps of one run that may be skipped or rolled back; one more ends it."""
    roll_back_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    """`roll_back`: each time, all learning rates are multiplied by this."""
    activation_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Compute each block again in the backward pass instead of keeping it (same weights, less memory, about a quarter
    more time); `auto` does so for networks of 200 million parameters and more."""
    compile: Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)] = "auto"
    """Compile each block with torch.compile, before the first step; `lampworks bench model --compile` prints the gain.
    `auto` does so for trainings of 1,000 steps and more on a GPU, where a C compiler is there and blocks are neither
    divided (`weights`) nor computed twice (`activation_checkpointing`); never on a CPU, where `on` takes g++. `on`
    compiles the frames of the play page too."""
    cache_clips: Count = 64
    """Decoded clips kept in memory, 6.9 MB each, where the set has no more; a larger set is decoded as it is read."""
    cache_tokens: NonNegativeInt = 0
    """Windows of the world's training whose tokens are kept, 2 bytes a token, from the first time that each is drawn;
    so are their codes where `latent_actions.update_every` is 0. 0 encodes at every step. It pays where windows come
    again: over many epochs, in short windows, or with a `vit`, which keeps frames."""
    read_tokens: bool = False
    """Read the tokens of the world's windows from the token shards in place of encoding them at every step; both give
    the same steps. Make the shards first (`lampworks run --select token_shards`), with `tokens.window` of
    `dynamics.context` frames, and set `dynamics.window_stride` to `tokens.stride`."""
    decode_workers: NonNegativeInt = 0
    """Processes that decode clips ahead of the steps; 0 means half of the cores, at most 8. None are started where
    `cache_clips` holds all clips."""
    windows_per_clip: NonNegativeInt = 0
    """Windows of a clip in an epoch, for one decode; 0 means as many as lie in it side by side."""
    mixed_clips: Count = 64
    """Clips whose windows are mixed at a time; about half of them are held decoded."""
    shuffle_clips: Count = 4096
    """Clips whose order is random; a larger set is read in blocks of so many, from tars drawn at random."""
    eval_windows: Count = 64
    """Held-out windows measured after training, of those that lie side by side in the held-out clips. One at least: a
    model is published with its figures, by which `tokenizer.min_psnr` judges it."""
    validate_every: NonNegativeInt = 1000
    """Steps between two measurements on held-out windows while a training runs, of which there are 1,000 at most; 0
    measures only after it. They change no weight."""
    validation_windows: Count = 16
    """Held-out windows of such a measurement, the same each time; at most those that lie side by side in the held-out
    clips."""
    pictures: NonNegativeInt = 8
    """Pictures (reconstructions, rollouts) that a training draws with these measurements, at most and spread over it;
    `reports/training` and TensorBoard show them."""
    tracker: Literal["tensorboard", "none"] = "tensorboard"
    """Where metrics of each step (of 20,000 at most) go beside Dagster's plots: event files in the home's
    `tensorboard/`, or nowhere."""
    check_memory: bool = True
    """Refuse a training whose estimated memory is not there, before the kernel ends it; false only says so."""
    max_bad_share: Share = 0.05
    """A training on shards of which a larger share of samples cannot be used (damaged, of another size) is refused."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start_from and self.go_on:
            raise UserError(
                f"training.start_from = {self.start_from!r} and training.go_on = {self.go_on!r}: a training begins in "
                "one place; set one of them to ''"
            )
        if "@" in self.start_from:
            raise UserError(
                f"training.start_from = {self.start_from!r}: only training.go_on takes a step, that of a checkpoint"
            )
        if not _GO_ON.fullmatch(self.go_on):
            raise UserError(
                f"training.go_on = {self.go_on!r}: after the @ stands the number of a step, as "
                f"{self.go_on.partition('@')[0]}@5000"
            )
        if 0 < self.spike_factor <= 1:
            raise UserError(
                f"training.spike_factor = {self.spike_factor:g}: every other loss is above the median; take more than "
                "1, as 3 or 10, or 0 for no limit"
            )
        if self.launch == "in_process" and self.processes * self.nodes > 1:
            raise UserError(
                f"training.launch = 'in_process' is one process: set training.processes (now {self.processes}) and "
                f"training.nodes (now {self.nodes}) to 1, or training.launch to 'torchrun'"
            )
        if self.nodes > 1 and not _is_address(self.rendezvous):
            raise UserError(
                f"training.rendezvous = {self.rendezvous!r}: {self.nodes} nodes need HOST:PORT, an address of one of "
                "them and a free port there, as 10.0.0.1:29400; or set training.nodes = 1"
            )
