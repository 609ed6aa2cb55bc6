"""Phase 2: latent actions and dynamics learn together on a frozen tokenizer (Genie section 2.2).

Each has its own loss and its own optimizer. The LAM learns from pixels; the dynamics gets the LAM's codes detached, so
that no gradient of it reaches the LAM. With `unquantized_steps` the LAM first learns alone without quantization, and
k-means of its latents initializes the codes.

The *oracle* is the same dynamics conditioned on the true actions of the embedded source instead of a LAM. If the oracle
cannot be controlled, the dynamics is too weak; if only the oracle can, the latent actions carry nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.networks.dynamics import (
    Dynamics,
    initialize_from_codebook,
    scale_action_embeddings,
    self_predicted_tokens,
)
from models.networks.latent_actions import LatentActionModel, initialize_codes, initialize_embeddings
from models.networks.latent_start import start_latent_actions
from models.networks.tokenizer import VideoTokenizer
from models.runtime.compute import Compute, intra_op_threads
from models.runtime.cpu_parallel import CpuParallel, micro_batches
from models.runtime.weights import load_states, prefixed
from models.training.checkpoint import step_generator
from models.training.code_metrics import code_metrics
from models.training.data import Batches, ClipWindows, Place, TensorBatch
from models.training.dynamics_inputs import draw_inputs
from models.training.optimizer import Optimizer
from models.training.tokenizer_training import mean_psnr
from pipeline.config.world import DynamicsConfig, LatentActionConfig

TruthActions = Callable[[str], npt.NDArray[np.int8] | None]
"""Returns the true actions of a clip by its id, entry k between frames k and k + 1; None where unknown."""

_STREAM, _CODES_STREAM, _INITIAL_FRAMES, _INITIAL_WINDOWS, _CODES_BATCHES = 2, 3, 256, 32, 40


class WorldTraining:
    """LAM, dynamics, their optimizers, the frozen tokenizer and the data."""

    def __init__(
        self,
        latent_actions: LatentActionConfig,
        dynamics: DynamicsConfig,
        tokenizer: VideoTokenizer,
        windows: ClipWindows,
        compute: Compute,
        *,
        seed: int,
        truth_actions: TruthActions | None = None,
        accumulate: int = 1,
    ) -> None:
        """Build fresh networks.

        Args:
            latent_actions: sizes, rates and schedule of the LAM.
            dynamics: those of the dynamics, and the steps.
            tokenizer: gives the tokens; it is frozen.
            windows: the data.
            compute: where they train.
            seed: of weights and noise.
            truth_actions: makes it the oracle (all clips must have them).
            accumulate: micro-batches of a step (`training.accumulate`).
        """
        self.lam_config, self.config, self.windows = latent_actions, dynamics, windows
        self.compute, self.seed, self.truth_actions, self.accumulate = compute, seed, truth_actions, accumulate
        self._batches: Batches | None = None
        self._loader_state: Mapping[str, Any] | None = None
        self.alone_steps = 0 if truth_actions else latent_actions.unquantized_steps
        self.total_steps = self.alone_steps + dynamics.steps
        self.tokenizer = tokenizer.to(compute.device).eval().requires_grad_(False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            codes, grid = tokenizer.config.codebook_size, tokenizer.grid
            size = (tokenizer.height, tokenizer.width)
            self.lam = LatentActionModel(latent_actions, *size, dynamics.context, num_codes=codes, grid=grid)
            self.dynamics = Dynamics(dynamics, num_codes=codes, grid=grid, action_dim=latent_actions.latent_dim)
        self.lam.to(compute.device)
        self.dynamics.to(compute.device)
        self.lam_optimizer = Optimizer(self.lam, latent_actions.optimizer, self.total_steps, "latent_actions")
        self.optimizer = Optimizer(self.dynamics, dynamics.optimizer, dynamics.steps, "dynamics")
        # two threads while both networks learn; while the LAM learns alone, as many as its batch has windows
        self._pair, self.parallel = CpuParallel(compute, 2), CpuParallel(compute, dynamics.batch)

    def initialize(self) -> None:
        """Initialize embeddings from data where configured."""
        if self.truth_actions:
            # the codebook holds the true actions one-hot: the oracle world is then used like any other
            with torch.no_grad():
                self.lam.quantizer.codebook.copy_(torch.eye(self.lam_config.num_actions, self.lam_config.latent_dim))
        elif self.lam_config.pca_start:
            frames = self.windows.spread(count=_INITIAL_FRAMES, window=1)
            initialize_embeddings(self.lam, frames.to(self.compute.device))
        if self.config.embedding_start == "codebook":
            initialize_from_codebook(self.dynamics, self.tokenizer.quantizer.rows())
        if not self.truth_actions and not self.alone_steps and self.lam_config.start == "latents":
            windows = self.windows.spread(count=_INITIAL_WINDOWS, window=self.config.context).to(self.compute.device)
            frames = torch.cat([self._read(window) for window in windows.split(1)])
            start_latent_actions(self.lam, frames, step_generator(self.seed, _CODES_STREAM, 0))
        if not self.alone_steps:
            self._scale_actions()

    def _scale_actions(self) -> None:
        rows = self.lam.quantizer.rows()
        scale_action_embeddings(self.dynamics, self.tokenizer.quantizer.rows(), rows)

    def step(self, step: int) -> dict[str, float]:
        """Take one step.

        Metrics: lam_loss, lam_psnr (lam_accuracy of a LAM that reads tokens), lam_gradient_norm and
        lam_learning_rate; once it quantizes, those of `code_metrics`, and of the dynamics loss (its cross-entropy),
        gradient_norm and learning_rate.
        """
        video, places = self._placed(next(self.batches))
        if self.truth_actions:
            rows = self.lam.quantizer.lookup(self._true_actions(places)).detach()
            return self._step_dynamics(video, [_done(part) for part in self._parts(rows)], step)
        if step < self.alone_steps:
            return self._step_lam_alone(video, step)
        if step == self.alone_steps and self.alone_steps:
            initialize_codes(self.lam, self._many_latents(), step_generator(self.seed, _CODES_STREAM, 0))
            self._scale_actions()
        return self._step_both(video, step)

    @property
    def batches(self) -> Batches:
        """Return the batches of the steps, which begin where the checkpoint was written."""
        if self._batches is None:
            self._batches = self._order(_STREAM, self._loader_state)
        return self._batches

    def _order(self, stream: int, state: Mapping[str, Any] | None = None) -> Batches:
        return self.windows.batches(
            seed=self.seed, stream=stream, batch=self.config.batch, window=self.config.context,
            state=state, window_name="dynamics.context",
        )  # fmt: skip

    def _placed(self, batch: TensorBatch) -> tuple[Tensor, list[Place]]:
        return batch.video_BTHWC.to(self.compute.device), batch.places

    def _parts(self, batch: Tensor) -> list[Tensor]:
        """Return the micro-batches of a batch (B, ...)."""
        return micro_batches(batch, self.accumulate)

    def _tokens(self, video: Tensor) -> Tensor:
        with torch.no_grad(), self.compute.autocast():
            return torch.cat([self.tokenizer.encode(part) for part in self._parts(video)])

    def _read(self, video: Tensor) -> Tensor:
        """Return the LAM's input for a video: pixels or tokens."""
        return self._tokens(video) if self.lam.reads_tokens else video

    def _step_both(self, video: Tensor, step: int) -> dict[str, float]:
        """Take a step of both networks in parallel; the dynamics waits for codes, not for the LAM's update."""
        frames = self._read(video)
        rows: list[Future[Tensor]] = [Future() for _ in self._parts(frames)]
        lam = self._pair.submit(self._step_lam, frames, step, rows)
        lam.add_done_callback(lambda done: _fail_with(rows, done.exception()))
        try:
            with intra_op_threads(self._pair.inner):
                tokens = frames if self.lam.reads_tokens else None
                metrics = self._step_dynamics(video, rows, step - self.alone_steps, tokens)
        finally:
            lam.exception()  # waits: the other thread must not go on with a network that a caller looks at
        return {**lam.result(), **metrics}

    def _step_lam(self, frames: Tensor, step: int, rows: list[Future[Tensor]]) -> dict[str, float]:
        """Take a step of the LAM; the codes' rows of each micro-batch are there as soon as it has been seen."""
        self.lam_optimizer.zero_grad()
        losses, latents, codes, quality = [], [], [], 0.0
        for part, given in zip(self._parts(frames), rows, strict=True):
            with self.compute.autocast():
                loss, result = self.lam.loss(part, False)
            assert result.quantized is not None
            given.set_result(self.lam.quantizer.lookup(result.quantized.codes).detach().clone())
            share = len(part) / len(frames)
            loss = loss * share
            loss.backward()
            losses.append(loss.detach())
            codes.append(result.quantized.codes)
            latents.append(result.latents_BTL.detach())
            quality += share * lam_quality(result.next_frames.detach(), part[:, 1:])
        # at the full learning rate the codes collapsed in 2 of 4 runs (measured)
        norm = self.lam_optimizer.apply(step, self.lam_config.joint_lr_scale)
        all_codes, noise = torch.cat(codes), step_generator(self.seed, _STREAM, 2 * step + 1)
        self.lam.quantizer.update(torch.cat(latents), all_codes, noise)
        return {
            "lam_loss": float(torch.stack(losses).sum()),
            self.lam.metric: quality,
            **self._pace_of_lam(norm),
            **code_metrics(all_codes, self.lam_config.num_actions),
        }

    def _step_lam_alone(self, video: Tensor, step: int) -> dict[str, float]:
        frames = self._read(video)
        loss, parts = self.parallel.backward(self.lam, self._continuous_loss, frames, self.accumulate)
        norm = self.lam_optimizer.apply(step)
        quality = sum(quality * count for quality, count in parts) / len(frames)
        return {"lam_loss": float(loss), self.lam.metric: quality, **self._pace_of_lam(norm)}

    def _pace_of_lam(self, norm: float) -> dict[str, float]:
        return {"lam_gradient_norm": norm, "lam_learning_rate": self.lam_optimizer.learning_rate}

    def _continuous_loss(self, frames: Tensor) -> tuple[Tensor, tuple[float, int]]:
        """Return the loss, and the quality of the prediction with the number of windows."""
        with self.compute.autocast():
            loss, result = self.lam.loss(frames, True)
        return loss, (lam_quality(result.next_frames.detach(), frames[:, 1:]), len(frames))

    def _step_dynamics(
        self, video: Tensor, latent_actions: list[Future[Tensor]], step: int, tokens: Tensor | None = None
    ) -> dict[str, float]:
        """Take a step of the dynamics; `latent_actions` are the codes' rows of each micro-batch."""
        tokens = self._tokens(video) if tokens is None else tokens
        noise = step_generator(self.seed, _STREAM, 2 * step)
        whole = draw_inputs(self.config, tokens, self.dynamics.mask_id, noise)
        self.optimizer.zero_grad()
        losses = [torch.zeros((), device=tokens.device)]
        for part, given in zip(whole.parts(self.accumulate), latent_actions, strict=True):
            rows, seen = given.result(), part.tokens_BTP
            if not part.amount:
                continue
            with self.compute.autocast():
                if part.own_B11 is not None:
                    seen = torch.where(
                        part.own_B11, self_predicted_tokens(self.dynamics, seen, rows, part.mask_BTP), seen
                    )
                seen = part.with_noise(seen)
                loss = self.dynamics.loss(part.tokens_BTP, rows, part.mask_BTP, seen, part.weights_BTP)
            # the loss is a mean over masked tokens, of which each micro-batch has its own number
            loss = loss * (part.amount / whole.amount)
            loss.backward()
            losses.append(loss.detach())
        norm = self.optimizer.apply(step)
        pace = {"gradient_norm": norm, "learning_rate": self.optimizer.learning_rate}
        return {"loss": float(torch.stack(losses).sum()), **pace}

    @torch.no_grad()
    def _many_latents(self) -> Tensor:
        found = []
        batches = self._order(_CODES_STREAM)
        for _ in range(_CODES_BATCHES):
            video, _ = self._placed(next(batches))
            frames = self._read(video)
            with self.compute.autocast():
                parts = [self.lam.latents(part) for part in self._parts(frames)]
            found += [part.flatten(0, 1).float().cpu() for part in parts]
        batches.close()
        return torch.cat(found).to(self.compute.device)

    def _true_actions(self, places: list[Place]) -> Tensor:
        assert self.truth_actions is not None
        rows = []
        for place in places:
            actions = self.truth_actions(place.clip_id)
            assert actions is not None, f"clip {place.clip_id} has no true actions"
            rows.append(actions[place.start : place.start + self.config.context - 1])
        return torch.from_numpy(np.stack(rows).astype(np.int64)).to(self.compute.device)

    def networks(self) -> dict[str, nn.Module]:
        """Return the LAM and the dynamics."""
        return {"latent_actions": self.lam, "dynamics": self.dynamics}

    def tensors(self) -> dict[str, Tensor]:
        """Return weights, codebook and optimizer states."""
        return {
            **prefixed("latent_actions", self.lam.state_dict()),
            **prefixed("dynamics", self.dynamics.state_dict()),
            **prefixed("lam_optimizer", self.lam_optimizer.tensors()),
            **prefixed("optimizer", self.optimizer.tensors()),
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Load a checkpoint."""
        load_states(self.networks(), {"lam_optimizer": self.lam_optimizer, "optimizer": self.optimizer}, tensors)

    def about(self) -> dict[str, Any]:
        """Return the samples that were skipped, and the position in the order of windows."""
        state = self._loader_state if self._batches is None else self._batches.state()
        return {"bad_samples": self.windows.bad, "loader": state}

    def load_about(self, about: Mapping[str, Any]) -> None:
        """Skip the samples that were skipped before, and go on in the order of windows."""
        self.windows.tally.add_known(about.get("bad_samples", {}))
        self._loader_state = about.get("loader")


def _done(rows: Tensor) -> Future[Tensor]:
    future: Future[Tensor] = Future()
    future.set_result(rows)
    return future


def _fail_with(futures: list[Future[Tensor]], error: BaseException | None) -> None:
    """Give the futures that have no result yet an error, if there is one."""
    for future in futures:
        if error is not None and not future.done():
            future.set_exception(error)


def lam_quality(guess: Tensor, truth: Tensor) -> float:
    """Return the PSNR (dB) of frames, or the share of correct tokens; predictions may be logits."""
    if truth.dim() == 5:
        return mean_psnr(guess, truth)
    tokens = guess if guess.dim() == truth.dim() else guess.argmax(-1)
    return float((tokens == truth).float().mean())
