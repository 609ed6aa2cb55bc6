"""Choice of device, dtype of matrix products and threads, each with its reason; memory and compilation."""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.util
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from models.networks.attention import avoid_cudnn
from models.networks.transformer import STTransformer
from models.runtime.ranks import ALONE, Ranks, check_device
from pipeline.config.training import TrainingConfig
from pipeline.errors import UserError
from pipeline.training_size.parameters import is_checkpointed
from pipeline.usage import hold_gpus

_LEAST_COMPILED = 1000
"""Steps of a training from which on compiling repays the time that it takes, several times over."""
_LEAST_CAPABILITY = (7, 0)
"""Of a GPU that Triton writes programs for."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


@dataclass(frozen=True)
class Compute:
    """A device and the dtype of its matrix products; weights and the residual stream stay fp32."""

    device: torch.device
    dtype: torch.dtype
    reason: str
    """Why this dtype, to show to a person."""
    threads: int = 1
    """CPU threads to spread work over."""
    ranks: Ranks = ALONE
    """The processes that train one model together."""
    sharded: bool = False
    """Whether large networks are divided among them (`training.weights`)."""

    def __post_init__(self) -> None:
        if self.device.type == "cuda":
            avoid_cudnn()

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context under which forward passes run."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16)


def choose_compute(config: TrainingConfig | None = None, ranks: Ranks = ALONE) -> Compute:
    """Return the compute that a configuration asks for, or the machine's best where it says `auto`."""
    config = config or TrainingConfig()
    sharded = config.weights == "sharded" and not ranks.alone
    chosen = _choose(config, ranks)
    if chosen.device.type == "cuda":
        hold_gpus()
    return dataclasses.replace(chosen, ranks=ranks, sharded=sharded)


def _choose(config: TrainingConfig, ranks: Ranks) -> Compute:
    check_device(config)
    has_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if has_gpu and config.device != "cpu" else "cpu")
    if device.type == "cuda" and not ranks.alone:
        device = torch.device("cuda", ranks.local_rank)
    threads = config.threads or max(1, len(os.sched_getaffinity(0)) // ranks.local_count)
    if config.dtype != "auto":
        return Compute(device, {"fp32": torch.float32, "bf16": torch.bfloat16}[config.dtype], "as configured", threads)
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported()
        what = torch.cuda.get_device_name()
    else:
        fast = bool(torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16"))
        what = "this CPU"
    if fast:
        return Compute(device, torch.bfloat16, f"{what} multiplies bf16 fast", threads)
    return Compute(device, torch.float32, f"{what} has no fast bf16", threads)


def hold_memory() -> bool:
    """Make malloc keep the memory that a step frees for the next step; return whether it does.

    A step frees and allocates hundreds of megabytes. If malloc returns them to the system, each page is zeroed again:
    1 % of a step in fp32 and 3 % in bf16 (measured on one core). Only glibc has these options.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # the largest values allowed: blocks up to 32 MB are kept, 2 GB in all
    return mallopt is not None and all([mallopt(_MMAP_THRESHOLD, 32 << 20), mallopt(_TRIM_THRESHOLD, (2 << 30) - 1)])


@contextmanager
def intra_op_threads(count: int = 1) -> Iterator[None]:
    """Run each operation inside the block on `count` threads; `models.runtime.cpu_parallel` uses the others."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def prepare_training(network: nn.Module, config: TrainingConfig, device: torch.device, *, steps: int) -> str:
    """Switch on activation checkpointing and compilation of a network's blocks as configured.

    Neither changes names or values of weights.

    Args:
        network: what learns.
        config: says what is wanted.
        device: where it learns.
        steps: of the training.

    Returns:
        what was switched on, or why blocks are not compiled that would be, to show to a person; empty where nothing
        was.

    Raises:
        UserError: compilation needs a C++ compiler that is not installed.
    """
    stacks = [module for module in network.modules() if isinstance(module, STTransformer)]
    count = sum(parameter.numel() for parameter in network.parameters())
    checkpointed = is_checkpointed(config, count)
    for stack in stacks:
        stack.checkpointing = checkpointed
    done = ["activations checkpointed"] * checkpointed
    # where compiling was measured to pay (docs/model.md): the first step, which compiles, takes some 20 s more
    worth = device.type == "cuda" and steps >= _LEAST_COMPILED and config.weights == "replicated" and not checkpointed
    if config.compile == "auto" and worth and (lacking := _lacks_compiler(device)):
        done.append(f"blocks not compiled, so steps are slower: {lacking}")
    elif config.compile == "on" or (config.compile == "auto" and worth):
        compile_blocks(network, device)
        done.append("blocks compiled")
    return ", ".join(done)


def _lacks_compiler(device: torch.device) -> str:
    """Return what is missing to compile for a GPU, with the fix; empty where nothing is."""
    if importlib.util.find_spec("triton") is None:
        return "triton, by which torch.compile writes programs for a GPU, is not installed"
    if torch.cuda.get_device_capability(device) < _LEAST_CAPABILITY:
        return "this GPU is too old for torch.compile"
    named = [os.environ["CC"]] if os.environ.get("CC") else ["gcc", "clang"]
    if not any(shutil.which(name) for name in named):
        return f"there is no C compiler ({' or '.join(named)}): install it (apt-get install gcc)"
    return ""


def compile_blocks(network: nn.Module, device: torch.device) -> None:
    """Compile each block of a network, at its first use."""
    _check_compiler(device)
    for stack in network.modules():
        if isinstance(stack, STTransformer):
            for block in stack.blocks:
                block.compile()


def compile_played_frame(network: nn.Module, device: torch.device) -> None:
    """Compile the pass of one frame after cached ones as one graph; on a GPU each pass is then one CUDA graph."""
    _check_compiler(device)
    mode = "reduce-overhead" if device.type == "cuda" else None
    for stack in network.modules():
        if isinstance(stack, STTransformer):
            stack.after_past = torch.compile(stack.after_past, fullgraph=True, dynamic=False, mode=mode)


def _check_compiler(device: torch.device) -> None:
    named = os.environ.get("CXX", "g++")
    if device.type == "cpu" and shutil.which(named) is None:
        raise UserError(
            f"training.compile needs the C++ compiler {named!r}: install it (apt-get install g++), "
            "or set training.compile = off"
        )
    # cached tables of angles and masks are constants, and are traced as such
    warnings.filterwarnings("ignore", message="Dynamo detected a call to a `functools.lru_cache`")
