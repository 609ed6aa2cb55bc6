"""What a training step and a played frame cost, beside what this machine can multiply: one run, one table.

The peak is measured here too, as the best of a few large products in the same dtype and with as many threads.
Utilisation is the step's operations (`models.flops`) over its CPU-seconds and that peak.

    bench_model("cc-small", tasks=("dynamics", "play"), dtype="fp32", threads=1)
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.compute import Compute, threads_a_product
from models.dynamics import Dynamics, draw_mask
from models.flops import TRAINING, dynamics_flops, lam_flops, tokenizer_flops
from models.frame_cache import FrameCache
from models.latent_actions import LatentActionModel
from models.optimizer import Optimizer
from models.publish import parameters_of
from models.sampling import sample_frame
from models.tokenizer import VideoTokenizer
from pipeline.config.world import DynamicsConfig, LatentActionConfig, SamplingConfig, StackConfig, TokenizerConfig
from pipeline.errors import UserError

TASKS = ("tokenizer", "lam", "dynamics", "cotrain", "play")
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class SpeedPreset:
    """Sizes at which models are compared."""

    height: int
    width: int
    tokenizer: TokenizerConfig
    latent_actions: LatentActionConfig
    dynamics: DynamicsConfig
    batch: int
    prompt: int
    """Frames that a played world begins with."""
    frames: int
    """Frames that are then played."""
    steps: int
    """MaskGIT steps a frame."""


def _preset(
    height: int, width: int, d: int, head_dim: int, encoder: int, decoder: int, dynamics: int, steps: int
) -> SpeedPreset:
    def stack(layers: int, **more: Any) -> StackConfig:
        return StackConfig(
            layers=layers, d_model=d, heads=8, head_dim=head_dim, kv_heads=8, ffw_multiple=4, qk_norm=True, **more
        )

    return SpeedPreset(
        height=height,
        width=width,
        tokenizer=TokenizerConfig(encoder=stack(encoder), decoder=stack(decoder)),
        latent_actions=LatentActionConfig(encoder=stack(encoder), decoder=stack(encoder)),
        dynamics=DynamicsConfig(stack=stack(dynamics)),
        batch=1,
        prompt=14,
        frames=2,
        steps=steps,
    )


PRESETS = {
    "cc-small": _preset(64, 64, d=256, head_dim=32, encoder=2, decoder=2, dynamics=4, steps=8),
    "cc-90p": _preset(90, 160, d=512, head_dim=64, encoder=4, decoder=8, dynamics=8, steps=25),
}


def bench_model(
    name: str,
    *,
    tasks: Sequence[str] = TASKS,
    dtype: str = "fp32",
    threads: int = 1,
    repeats: int = 3,
    listen: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure tasks of a preset and return one JSON-able object.

    Args:
        name: `cc-small` or `cc-90p`.
        tasks: of `TASKS`.
        dtype: of the matrix products, `fp32` or `bf16`.
        threads: CPU threads.
        repeats: measured steps of each task, after one that is not; the median counts.
        listen: hears a line per task.

    Raises:
        UserError: a name that is none of these.
    """
    for value, known in ((name, PRESETS), (dtype, _DTYPES), *((task, TASKS) for task in tasks)):
        if value not in known:
            raise UserError(f"{value!r} is unknown: choose one of {', '.join(known)}")
    preset = PRESETS[name]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    compute = Compute(device, _DTYPES[dtype], "as asked", threads)
    with threads_a_product(threads):
        torch.manual_seed(0)
        networks = _Networks(preset, compute)
        peak = matmul_peak(compute)
        listen(f"peak {peak / 1e9:.1f} GFLOP/s ({dtype}, {threads} threads)")
        found: dict[str, Any] = {}
        for task in tasks:
            found[task] = networks.measured(task, repeats, peak)
            listen(_told(task, found[task]))
    return {
        "preset": name,
        "device": str(device),
        "dtype": dtype,
        "threads": threads,
        "peak_gflops": peak / 1e9,
        "peak_memory_mb": _peak_memory_mb(device),
        "parameters": {key: parameters_of(getattr(networks, key)) for key in ("tokenizer", "lam", "dynamics")},
        "tasks": found,
    }


def matmul_peak(compute: Compute, seconds: float = 1.0) -> float:
    """Return the operations a second of the best of a few large products on this device."""
    best = 0.0
    for size in (512, 1024, 2048):
        a, b = (torch.randn(size, size, device=compute.device).to(compute.dtype) for _ in range(2))
        out = a @ b
        end = time.monotonic() + seconds / 3
        while time.monotonic() < end:
            _wait(compute.device)
            start = time.perf_counter()
            for _ in range(4):
                torch.mm(a, b, out=out)
            _wait(compute.device)
            best = max(best, 8 * size**3 / (time.perf_counter() - start))
    return best


class _Networks:
    """The three networks of a preset, with random weights and inputs."""

    def __init__(self, preset: SpeedPreset, compute: Compute) -> None:
        self.preset, self.compute = preset, compute
        frames = preset.dynamics.context
        self.tokenizer = VideoTokenizer(preset.tokenizer, preset.height, preset.width).to(compute.device)
        self.lam = LatentActionModel(preset.latent_actions, preset.height, preset.width, frames).to(compute.device)
        self.dynamics = Dynamics(
            preset.dynamics,
            num_codes=preset.tokenizer.codebook_size,
            grid=self.tokenizer.grid,
            action_dim=preset.latent_actions.latent_dim,
        ).to(compute.device)
        shape = (preset.batch, frames, preset.height, preset.width, 3)
        self.video = torch.randint(0, 256, shape, dtype=torch.uint8, device=compute.device)
        codes = preset.tokenizer.codebook_size
        tokens = (preset.batch, frames, self.tokenizer.num_tokens)
        self.tokens = torch.randint(0, codes, tokens, device=compute.device)
        actions = (preset.batch, frames - 1, preset.latent_actions.latent_dim)
        self.actions = torch.randn(actions, device=compute.device)
        mask = draw_mask(preset.dynamics, tokens, torch.Generator().manual_seed(0))
        self.mask = mask.to(compute.device)
        self.flops = {
            "tokenizer": TRAINING * tokenizer_flops(self.tokenizer, preset.batch, frames),
            "lam": TRAINING * lam_flops(self.lam, preset.batch, frames),
            "dynamics": TRAINING
            * dynamics_flops(self.dynamics, preset.batch, frames, action_dim=preset.latent_actions.latent_dim),
        }
        self.flops["cotrain"] = self.flops["lam"] + self.flops["dynamics"]

    def measured(self, task: str, repeats: int, peak: float) -> dict[str, Any]:
        if task == "play":
            return self._played(repeats)
        step = self._training_step(task)
        step()
        cpu, wall = _medians(step, repeats, self.compute.device)
        flops = self.flops[task]
        # of one thread what it worked; of several, and of another device, what passed
        seconds = cpu if self.compute.threads == 1 and self.compute.device.type == "cpu" else wall
        return {
            "gflop": flops / 1e9, "cpu_s": cpu, "wall_s": wall, "gflops": flops / seconds / 1e9,
            "utilisation": flops / seconds / peak,
        }  # fmt: skip

    def _training_step(self, task: str) -> Callable[[], None]:
        losses = {
            "tokenizer": (self.tokenizer, self.preset.tokenizer.optimizer, lambda: self.tokenizer.loss(self.video)[0]),
            "lam": (self.lam, self.preset.latent_actions.optimizer, lambda: self.lam.loss(self.video)[0]),
            "dynamics": (
                self.dynamics,
                self.preset.dynamics.optimizer,
                lambda: self.dynamics.loss(self.tokens, self.actions, self.mask)[0],
            ),
        }
        parts = [losses[name] for name in (("lam", "dynamics") if task == "cotrain" else (task,))]
        trained = [(Optimizer(network, config, 1000), loss) for network, config, loss in parts]

        def step() -> None:
            for optimizer, loss in trained:
                with self.compute.autocast():
                    value = loss()
                optimizer.step(value, 0)

        return step

    def _played(self, repeats: int) -> dict[str, Any]:
        """Measure played frames, with past frames computed once and with the whole window computed at every step."""
        preset = self.preset
        self.dynamics.eval()
        sampling = SamplingConfig(maskgit_steps=preset.steps, token_temperature=1.0)

        def play(cached: bool) -> torch.Tensor:
            tokens, cache = self.tokens[:, : preset.prompt], FrameCache(preset.dynamics.context)
            generator = torch.Generator(self.compute.device).manual_seed(0)
            for frame in range(preset.prompt, preset.prompt + preset.frames):
                window, kept = torch.cat([tokens, tokens[:, -1:]], 1), cache.length if cached else 0
                new = sample_frame(
                    self.dynamics, window[:, kept:], self.actions[:, max(kept - 1, 0) : frame], sampling=sampling,
                    generator=generator, cache=cache if cached else None, recompute=not cached,
                )  # fmt: skip
                tokens = torch.cat([tokens, new[:, None]], 1)
            return tokens

        def prefill() -> None:
            past = self.tokens[:, : preset.prompt]
            self.dynamics.hidden(past, self.actions[:, : preset.prompt - 1], FrameCache(preset.dynamics.context), keep=True)

        with torch.inference_mode(), self.compute.autocast():
            drawn = [play(True), play(False)]
            cpu, wall = _medians(lambda: play(True), repeats, self.compute.device)
            prefill()
            _, prefill_s = _medians(prefill, repeats, self.compute.device)
            full_cpu, full_wall = _medians(lambda: play(False), 1, self.compute.device)
        self.dynamics.train()
        differ = (drawn[0] != drawn[1])[:, preset.prompt :].float().mean()
        return {
            "cpu_s": cpu, "wall_s": wall, "prefill_s": prefill_s,
            "frames_per_s": preset.frames / wall,
            "frames_per_s_after_prefill": preset.frames / max(wall - prefill_s, 1e-9),
            "recompute_cpu_s": full_cpu, "recompute_wall_s": full_wall,
            "speedup": full_cpu / cpu if self.compute.device.type == "cpu" else full_wall / wall,
            "share_of_ids_that_differ": float(differ),
        }  # fmt: skip


def _medians(step: Callable[[], Any], repeats: int, device: torch.device) -> tuple[float, float]:
    cpu, wall = [], []
    for _ in range(repeats):
        _wait(device)
        started, began = time.process_time(), time.perf_counter()
        step()
        _wait(device)
        cpu.append(time.process_time() - started)
        wall.append(time.perf_counter() - began)
    return statistics.median(cpu), statistics.median(wall)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_memory_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def _told(task: str, found: dict[str, Any]) -> str:
    if task == "play":
        return (
            f"play: {found['frames_per_s']:.2f} frames/s, {found['frames_per_s_after_prefill']:.2f} after the prefill, "
            f"{found['speedup']:.1f} x the full recompute, {found['share_of_ids_that_differ']:.2%} of ids differ"
        )
    return (
        f"{task}: {found['cpu_s']:.2f} CPU-s a step, {found['gflop']:.0f} GFLOP, {found['gflops']:.1f} GFLOP/s, "
        f"{found['utilisation']:.0%} of the peak"
    )
