"""The tasks of the benchmark: training steps of each network, played frames, and a pass over one frame."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.bench.presets import SpeedPreset
from models.bench.timing import beside_peak, kept_mb
from models.networks.dynamics import Dynamics, draw_mask, loss_rows
from models.networks.frame_cache import FrameCache
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.networks.transformer import STTransformer
from models.registry import parameters_of
from models.runtime.compute import Compute, compile_blocks, compile_played_frame, hold_memory
from models.runtime.flops import TRAINING, dynamics_flops, frame_flops, lam_flops, tokenizer_flops
from models.runtime.peak import Cost, Peak, cost_of
from models.training.optimizer import Optimizer
from models.world.sampling import sample_frame
from pipeline.config.evaluation import SamplingConfig
from pipeline.config.world import OptimizerConfig
from pipeline.errors import UserError

TASKS = ("tokenizer", "lam", "dynamics", "cotrain", "play", "frame")
"""`frame` is one pass over one frame after cached ones, with weights in the dtype of the products. It takes no training
step and makes no second copy of the weights."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_PARTS = {"tokenizer": ("tokenizer",), "lam": ("lam",), "dynamics": ("dynamics",), "cotrain": ("lam", "dynamics")}


class Bench:
    """Networks of a preset with random weights and inputs; each is built when a task first needs it."""

    def __init__(self, preset: SpeedPreset, compute: Compute, repeats: int) -> None:
        self.preset, self.compute, self.repeats = preset, compute, repeats
        self.frames = preset.dynamics.context
        self.parameters: dict[str, int] = {}
        self._plain: dict[str, float] = {}
        torch.manual_seed(0)
        hold_memory()

    @functools.cached_property
    def tokenizer(self) -> VideoTokenizer:
        """The tokenizer, on the device."""
        return self._made("tokenizer", VideoTokenizer(self.preset.tokenizer, self.preset.height, self.preset.width))

    @functools.cached_property
    def lam(self) -> LatentActionModel:
        """The latent action model, on the device."""
        preset = self.preset
        lam = LatentActionModel(
            preset.latent_actions, preset.height, preset.width, self.frames,
            num_codes=preset.tokenizer.codebook_size, grid=self.grid,
        )  # fmt: skip
        return self._made("lam", lam)

    @functools.cached_property
    def dynamics(self) -> Dynamics:
        """The dynamics, on the device."""
        # on a GPU, billions of weights are drawn a hundred times faster
        with self.compute.device:
            return self._made("dynamics", self._new_dynamics())

    def _new_dynamics(self) -> Dynamics:
        preset = self.preset
        return Dynamics(
            preset.dynamics, num_codes=preset.tokenizer.codebook_size, grid=self.grid,
            action_dim=preset.latent_actions.latent_dim,
        )  # fmt: skip

    def _made(self, name: str, network: Any) -> Any:
        self.parameters[name] = parameters_of(network)
        return network.to(self.compute.device)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens of a frame."""
        patch = self.preset.tokenizer.patch
        return -(-self.preset.height // patch), -(-self.preset.width // patch)

    @functools.cached_property
    def video(self) -> Tensor:
        """A random video (B, T, H, W, 3), uint8."""
        shape = (self.preset.batch, self.frames, self.preset.height, self.preset.width, 3)
        return torch.randint(0, 256, shape, dtype=torch.uint8, device=self.compute.device)

    @functools.cached_property
    def tokens(self) -> Tensor:
        """Random tokens (B, T, P)."""
        shape = (self.preset.batch, self.frames, self.grid[0] * self.grid[1])
        with torch.inference_mode(False):  # tensors made in inference mode cannot be trained on
            return torch.randint(0, self.preset.tokenizer.codebook_size, shape, device=self.compute.device)

    @functools.cached_property
    def actions(self) -> Tensor:
        """Random codebook rows of latent actions (B, T - 1, L)."""
        shape = (self.preset.batch, self.frames - 1, self.preset.latent_actions.latent_dim)
        with torch.inference_mode(False):
            return torch.randn(shape, device=self.compute.device)

    @functools.cached_property
    def mask(self) -> Tensor:
        """The mask of a training batch (B, T, P)."""
        b, t, p = self.tokens.shape
        return draw_mask(self.preset.dynamics, (b, t, p), torch.Generator().manual_seed(0)).to(self.compute.device)

    @functools.cached_property
    def peak(self) -> Peak:
        """The peak of matrix products on this machine."""
        with torch.inference_mode(False):
            return Peak(self.compute)

    def measured(self, task: str) -> dict[str, Any]:
        """Measure a task, and return its metrics; UserError where the GPU has not the memory for it."""
        try:
            return self._measured(task)
        except torch.OutOfMemoryError as exc:
            first = str(exc).partition(". ")[0]
            raise UserError(f"{task}, batch {self.preset.batch}: {first}. Lower --batch.") from exc

    def _measured(self, task: str) -> dict[str, Any]:
        if task == "play":
            found = self._played()
            self._plain[task] = found["seconds_after_prefill"]
            return found
        if task == "frame":
            return self._one_frame()
        step = self._training_step(task)
        step()
        flops = TRAINING * sum(self._flops(part) for part in _PARTS[task])
        found = self._beside_peak(step, flops)
        self._plain[task] = Cost(found["cpu_s"], found["wall_s"]).seconds(self.compute)
        return {**found, "kept_mb": self._kept(task)}

    def _beside_peak(self, call: Callable[[], Any], flops: float) -> dict[str, Any]:
        cost, peak, used = beside_peak(call, flops, self.repeats, self.peak)
        return {
            "gflop": flops / 1e9, **cost._asdict(), "gflops": flops / cost.seconds(self.compute) / 1e9,
            "peak_gflops": peak / 1e9, "utilisation": used,
        }  # fmt: skip

    def beside(self, task: str, *, compiled: bool, checkpointed: bool) -> dict[str, Any] | None:
        """Measure a variant of a task relative to `measured`; None where the task has no such variant.

        Returns:
            `time_ratio`, and `kept_mb` for a checkpointed training step.
        """
        if task == "frame" or (checkpointed and task == "play"):
            return None
        if self.compute.device.type == "cuda":
            torch.cuda.empty_cache()  # blocks of the steps before, which fit no step of another kind
        other = copy.copy(self)
        other._plain = {}
        names = ("dynamics",) if task == "play" else _PARTS[task]
        for name in names:
            network = copy.deepcopy(getattr(self, name))
            if compiled and task == "play":
                compile_played_frame(network, self.compute.device)
            elif compiled:
                compile_blocks(network, self.compute.device)
            for stack in (module for module in network.modules() if isinstance(module, STTransformer)):
                stack.checkpointing = checkpointed
            other.__dict__[name] = network
        if task == "play":
            return {"time_ratio": other._played()["seconds_after_prefill"] / self._plain[task]}
        step = other._training_step(task)
        step()
        found = {"time_ratio": cost_of(step, self.repeats, self.compute.device).seconds(self.compute)}
        found["time_ratio"] /= self._plain[task]
        return found if compiled else {**found, "kept_mb": other._kept(task)}

    def _flops(self, part: str) -> int:
        if part == "tokenizer":
            return tokenizer_flops(self.tokenizer, self.preset.batch, self.frames)
        if part == "lam":
            return lam_flops(self.lam, self.preset.batch, self.frames)
        return dynamics_flops(
            self.dynamics, self.preset.batch, self.frames, len(loss_rows(self.mask, self.dynamics.mask_id))
        )

    def _loss(self, part: str) -> Tensor:
        with self.compute.autocast():
            if part == "tokenizer":
                return self.tokenizer.loss(self.video)[0]
            if part == "lam":
                return self.lam.loss(self.tokens if self.lam.reads_tokens else self.video)[0]
            return self.dynamics.loss(self.tokens, self.actions, self.mask)

    def _kept(self, task: str) -> float:
        return max(kept_mb(lambda part=part: self._loss(part)) for part in _PARTS[task])  # type: ignore[misc]

    def _training_step(self, task: str) -> Callable[[], None]:
        configs: dict[str, OptimizerConfig] = {
            "tokenizer": self.preset.tokenizer.optimizer,
            "lam": self.preset.latent_actions.optimizer,
            "dynamics": self.preset.dynamics.optimizer,
        }
        trained = [(part, Optimizer(getattr(self, part), configs[part], 1000)) for part in _PARTS[task]]

        def step() -> None:
            for part, optimizer in trained:
                optimizer.step(self._loss(part), 0)

        return step

    def _played(self) -> dict[str, Any]:
        """Measure generated frames, with cached past frames and with the whole window recomputed at every step."""
        preset, device = self.preset, self.compute.device
        network: nn.Module = self.dynamics.eval()
        with torch.inference_mode(), self.compute.autocast():
            drawn = [self._play(cached=True), self._play(cached=False)]
            whole = cost_of(lambda: self._play(cached=True), self.repeats, device)
            prefill = cost_of(self._prefill, self.repeats, device)
            full = cost_of(lambda: self._play(cached=False), 1, device)
        network.train()
        seconds = [cost.seconds(self.compute) for cost in (whole, prefill, full)]
        after = max(seconds[0] - seconds[1], 1e-9)
        differ = (drawn[0] != drawn[1])[:, preset.prompt :].float().mean()
        return {
            **whole._asdict(), "prefill_s": seconds[1], "seconds_after_prefill": after,
            "frames_per_s": preset.frames / whole.wall_s,
            "frames_per_s_after_prefill": preset.frames / max(whole.wall_s - prefill.wall_s, 1e-9),
            "recompute_s": seconds[2],
            "speedup": seconds[2] / seconds[0],
            "speedup_after_prefill": seconds[2] / after,
            "share_of_ids_that_differ": float(differ),
        }  # fmt: skip

    def _prefill(self) -> FrameCache:
        cache, prompt = FrameCache(self.frames), self.preset.prompt
        self.dynamics.hidden(self.tokens[:, :prompt], self.actions[:, : prompt - 1], cache, keep=True)
        return cache

    def _play(self, *, cached: bool) -> Tensor:
        preset = self.preset
        sampling = SamplingConfig(maskgit_steps=preset.steps, token_temperature=1.0)
        tokens = self.tokens[:, : preset.prompt]
        cache = self._prefill() if cached else None
        generator = torch.Generator(self.compute.device).manual_seed(0)
        for frame in range(preset.prompt, preset.prompt + preset.frames):
            kept = 0 if cache is None else cache.length
            window = torch.cat([tokens, tokens[:, -1:]], 1)[:, kept:]
            led = self.actions[:, max(kept - 1, 0) : frame]
            new = sample_frame(
                self.dynamics, window, led, sampling=sampling, generator=generator, cache=cache, recompute=not cached
            )
            tokens = torch.cat([tokens, new[:, None]], 1)
        return tokens

    def _one_frame(self) -> dict[str, Any]:
        """Measure a pass over one frame of a network whose weights are in the dtype of the products."""
        device, dtype = self.compute.device, self.compute.dtype
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with device:
                network = self._made("dynamics", self._new_dynamics()).eval().requires_grad_(False)
        finally:
            torch.set_default_dtype(before)
        with torch.inference_mode():
            cache, rows = FrameCache(self.frames), self.actions.to(dtype)
            network.hidden(self.tokens[:, :-1], rows[:, :-1], cache, keep=True)

            def one() -> Tensor:
                return network.head(network.hidden(self.tokens[:, -1:], rows[:, -1:], cache))

            one()
            found = self._beside_peak(one, frame_flops(network, self.preset.batch))
        return {**found, "weights_mb": _bytes(network) / 1e6}


def _bytes(network: nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
