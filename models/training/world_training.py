"""Phase 2: latent actions and dynamics learn together on a frozen tokenizer (Genie section 2.2).

Each has its own loss and its own optimizer. The LAM learns from pixels; the dynamics gets the LAM's codes detached, so
that no gradient of it reaches the LAM. With `unquantized_steps` the LAM first learns alone without quantization, and
k-means of its latents initializes the codes.

With `dynamics.led_by: true_actions` the same dynamics is conditioned on the true actions of the recordings instead of a
LAM's. If such an oracle cannot be controlled, the dynamics is too weak; if only it can, latent actions carry nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from threading import Event
from typing import Any

import torch
from torch import Tensor, nn

from models.networks.dynamics import Dynamics, scale_action_embeddings
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.runtime.compute import Compute
from models.runtime.cpu_parallel import CpuParallel
from models.runtime.ranks import ALONE, Ranks
from models.runtime.weights import load_states, part_of
from models.training.checkpoint import step_generator
from models.training.data import Batches, ClipWindows, Place, TensorBatch
from models.training.dynamics_inputs import draw_inputs
from models.training.dynamics_step import backward
from models.training.first_codes import initialize_first_codes
from models.training.lam_steps import LamSteps
from models.training.large_network import LargeNetwork
from models.training.optimizer import Optimizer
from models.training.own_past import OwnPast, Rollouts, begin_rollouts
from models.training.recalled import RecalledFrames
from models.training.schedules import lam_schedule_steps
from models.training.step_batches import StepBatches
from models.training.token_cache import TokenSource, WindowCache, token_cache
from models.training.true_actions import TruthActions, true_actions
from models.training.unseen_actions import ActionPrior, shown_actions, train_prior
from models.training.without_gradients import WithoutGradients
from models.training.world_start import CODES_STREAM, initialize_world
from pipeline.config.world import DynamicsConfig, LatentActionConfig
from pipeline.errors import UserError

_STREAM, _PRIOR_STREAM, _CODES_BATCHES = 2, 4, 100
# with a token cache these windows are then drawn again for nothing
_PRIOR, _PRIOR_BATCHES = "action_prior", 400
_RECALLED = "recalled"


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
        cache_tokens: int = 0,
        codes_batches: int | None = None,
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
            cache_tokens: windows whose tokens are kept (`training.cache_tokens`).
            codes_batches: batches whose latents the LAM's first codes are made from; None: 100.
        """
        self._codes_batches = codes_batches
        self.lam_config, self.config, self.windows = latent_actions, dynamics, windows
        self.compute, self.seed, self.truth_actions, self.accumulate = compute, seed, truth_actions, accumulate
        self.led_by_truth = truth_actions is not None
        self.batches = StepBatches(windows, partial(self._order, _STREAM))
        """The batches of the steps."""
        self.alone_steps = 0 if truth_actions else latent_actions.unquantized_steps
        self.total_steps = self.alone_steps + dynamics.steps
        self.tokenizer = tokenizer.to(compute.device).eval().requires_grad_(False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            codes, grid = tokenizer.config.codebook_size, tokenizer.grid
            size = (tokenizer.height, tokenizer.width)
            self.lam = LatentActionModel(latent_actions, *size, dynamics.context, num_codes=codes, grid=grid)
            self.dynamics = self._fresh_dynamics()
            actions, unseen = latent_actions.num_actions, dynamics.unseen_actions and not truth_actions
            prior = ActionPrior(tokenizer.quantizer.rows(), grid=grid, num_actions=actions) if unseen else None
        self.prior = None if prior is None else prior.to(compute.device)
        self.lam.to(compute.device)
        self.dynamics.to(compute.device)
        lam_steps = lam_schedule_steps(latent_actions, self.alone_steps, self.total_steps)
        self.lam_optimizer = Optimizer(self.lam, latent_actions.optimizer, lam_steps, "latent_actions")
        self.optimizer = Optimizer(self.dynamics, dynamics.optimizer, dynamics.steps, "dynamics")
        self.parallel = CpuParallel(compute, dynamics.batch)
        self.lanes = compute.ranks.lanes(dynamics.batch)
        self.lam_steps = LamSteps(
            self.lam, latent_actions, self.lam_optimizer, self.parallel, compute, batch=dynamics.batch,
            alone_steps=self.alone_steps, noise=partial(step_generator, seed, _STREAM), accumulate=accumulate,
        )  # fmt: skip
        self.frozen = WithoutGradients(compute, self.parallel, accumulate)
        self._large = LargeNetwork("dynamics", self.dynamics, self.optimizer, compute)
        self.recalled = RecalledFrames(dynamics.recalled_frames)
        self.token_cache = token_cache(self.tokenizer, cache_tokens, dynamics.context)
        self.lam_rests = not latent_actions.update_every
        """Whether the LAM ends learning with its steps alone."""
        caches = cache_tokens and self.lam_rests
        self.code_cache = WindowCache(cache_tokens, dynamics.context, latent_actions.num_actions) if caches else None
        self._aside = WithoutGradients(compute, CpuParallel(compute, 1), accumulate)
        self.kept_of_frozen: dict[str, Any] = {}
        """What measurements keep of networks that rest; emptied where these may be others."""

    def _fresh_dynamics(self) -> Dynamics:
        codes, grid = self.tokenizer.config.codebook_size, self.tokenizer.grid
        return Dynamics(self.config, num_codes=codes, grid=grid, action_dim=self.lam_config.latent_dim)

    def initialize(self) -> None:
        """Initialize embeddings from data where configured."""
        initialize_world(self, self._read)
        if not self.alone_steps:
            self._scale_actions()
        self._align()

    def _align(self) -> None:
        """Take over the first rank's networks: all have computed the same, but for rounding on other processors."""
        for network in self._saved().values():
            self.compute.ranks.align(list(network.state_dict().values()))

    def _scale_actions(self) -> None:
        rows = self.lam.quantizer.rows()
        scale_action_embeddings(self.dynamics, self.tokenizer.quantizer.rows(), rows)

    def step(self, step: int) -> dict[str, float]:
        """Take one step.

        Metrics: lam_loss, lam_psnr (lam_accuracy of a LAM that reads tokens), lam_gradient_norm and
        lam_learning_rate (in steps in which it learns); once it quantizes, those of `code_metrics`, and of the dynamics
        loss (its cross-entropy), gradient_norm and learning_rate.
        """
        self._large.divide()
        video, places = self._placed(next(self.batches))
        if self.truth_actions:
            true = true_actions(self.truth_actions, places, self.config.drawn_frames - 1).to(self.compute.device)
            rows = self.lam.quantizer.lookup(true).detach()
            return self._step_dynamics(video, self._window_tokens(video, places), rows, step, places)
        if step < self.alone_steps:
            return self.lam_steps.take_alone(self._read(self._context(video)), step)
        if step == self.alone_steps and self.alone_steps:
            self._initialize_codes()
            self.lam_optimizer.begin_losses()
            self._scale_actions()
        if step == self.alone_steps and self.prior is not None:
            self._train_prior(self.prior)
        if step == self.alone_steps and step:
            self._align()
        return self._step_both(video, places, step)

    def _order(self, stream: int, state: Mapping[str, Any] | None = None, ranks: Ranks | None = None) -> Batches:
        return self.windows.batches(
            seed=self.seed, stream=stream, batch=self.config.batch, window=self.config.drawn_frames,
            state=state, window_name=self.config.drawn_by, ranks=ranks, stride=self.config.window_stride,
        )  # fmt: skip

    def _context(self, video: Tensor) -> Tensor:
        """Return the frames of a batch without those before its windows."""
        return video[:, self.config.frames_before :]

    def _placed(self, batch: TensorBatch) -> tuple[Tensor, list[Place]]:
        return batch.video_BTHWC.to(self.compute.device), batch.places

    def _tokens(self, video: Tensor, parts: int = 0) -> Tensor:
        """Return the tokens of a video (B, ...), computed in `parts` parts one after another (`accumulate`)."""
        return self.frozen.map(self.tokenizer.encode, video, parts)

    def _window_tokens(self, video: Tensor, places: list[Place]) -> Tensor:
        """Return the tokens (B, T, P) of the windows of a batch, kept ones where there are."""
        return self._kept(self.token_cache, self.tokenizer.encode, self._context(video), places)

    def _kept(
        self, cache: TokenSource | None, function: Callable[[Tensor], Tensor], frames: Tensor, places: list[Place]
    ) -> Tensor:
        """Return a function of windows, without gradients, from a cache where there is one."""
        return self.frozen.kept(cache, function, frames, self._context_places(places))

    def _context_places(self, places: list[Place]) -> list[Place]:
        """Return where windows lie without the frames before them."""
        return [place._replace(start=place.start + self.config.frames_before) for place in places]

    def _read(self, video: Tensor, parts: int = 0) -> Tensor:
        """Return the LAM's input for a video: pixels, or tokens as of `_tokens`."""
        return self._tokens(video, parts) if self.lam.reads_tokens else video

    def _step_both(self, video: Tensor, places: list[Place], step: int) -> dict[str, float]:
        """Take a step of both networks; the dynamics is led by the codes from before the LAM's update."""
        tokens, joint = self._window_tokens(video, places), step - self.alone_steps
        frames = tokens if self.lam.reads_tokens else self._context(video)
        every = self.lam_config.update_every
        updates = bool(every) and joint % every == 0
        rows, metrics = self.lam_steps.take(frames, step) if updates else self._led_by(frames, places)
        return {**metrics, **self._step_dynamics(video, tokens, rows, joint, places)}

    @torch.no_grad()
    def _led_by(self, frames: Tensor, places: list[Place]) -> tuple[Tensor, dict[str, float]]:
        """Return the codes' rows (B, T-1, L) of frames, and metrics."""
        codes = self._codes(frames, places)
        return self.lam.quantizer.lookup(codes), self.lam_steps.code_metrics(codes)

    def _codes(self, frames: Tensor, places: list[Place]) -> Tensor:
        return self._kept(self.code_cache, self.lam.encode, frames, places)

    def _rows_of(self, video: Tensor) -> Tensor:
        return self.lam.quantizer.lookup(self.frozen.map(self.lam.encode, self._read(video))).detach()

    def _step_dynamics(
        self, video: Tensor, tokens: Tensor, rows: Tensor, step: int, places: list[Place]
    ) -> dict[str, float]:
        """Take a step of the dynamics on the tokens (B, T, P) of windows, led by the rows of their latent actions.

        Rows are of the last T - 1 transitions of the video at least, and of all of them for the oracle.
        """
        noise = step_generator(self.seed, _STREAM, 2 * step)
        led = rows[:, rows.shape[1] + 1 - tokens.shape[1] :]
        context = self._context_places(places)

        def begin(rollouts: Rollouts) -> OwnPast:
            own = begin_rollouts(rollouts, video, led, self._tokens, self._rows_of)
            return own._replace(actions_BAL=rows) if self.truth_actions else own

        shown = None if self.prior is None else shown_actions(self.prior, tokens, led, self.lam.quantizer.rows())

        def recall(chosen_B: Tensor, mask_BTP: Tensor) -> Tensor:
            return self.recalled.shown(context, chosen_B, mask_BTP)

        whole = draw_inputs(self.config, tokens, led, self.dynamics.mask_id, noise, begin, shown, recall, self.lanes)
        loss, predicted = backward(self.dynamics, whole, self.compute, self.parallel, self._large, self.accumulate)
        if self.config.recalled_share:
            self.recalled.keep(context, tokens, predicted, whole.mask_BTP, self.compute.ranks, self.config.batch)
        norm = self.optimizer.apply(step, loss=loss)
        return {"loss": float(loss), "gradient_norm": norm, "learning_rate": self.optimizer.learning_rate}

    def _train_prior(self, prior: ActionPrior) -> None:
        batches = self._order(_PRIOR_STREAM, ranks=ALONE)

        def transitions() -> Iterator[tuple[Tensor, Tensor]]:
            for _ in range(_PRIOR_BATCHES):
                video, places = self._placed(next(batches))
                tokens = self._window_tokens(video, places)
                yield tokens[:, :-1], self._codes(tokens if self.lam.reads_tokens else self._context(video), places)

        found = [*transitions()]
        learned = Event()
        ahead = self.parallel.submit(self._keep_ahead, batches, learned) if self.parallel.count > 1 else None
        try:
            train_prior(prior, found, step_generator(self.seed, _PRIOR_STREAM, 0))
        finally:
            learned.set()
            failed = None if ahead is None else ahead.exception()
            batches.close()
        # a step that meets another error says so; clips that are known to be unusable are not met again
        if isinstance(failed, UserError):
            raise failed

    def _keep_ahead(self, batches: Batches, until: Event) -> None:
        """Fill the caches with windows that no step has drawn, while the prior learns, which keeps one thread busy."""
        cache, size = self.code_cache, -1
        while cache is not None and not until.is_set() and len(cache) > size:
            size = len(cache)
            video, places = self._placed(next(batches))
            frames, own = self._context(video), self._context_places(places)
            tokens = self._aside.kept(self.token_cache, self.tokenizer.encode, frames, own)
            self._aside.kept(cache, self.lam.encode, tokens if self.lam.reads_tokens else frames, own)

    def _initialize_codes(self) -> None:
        count = self._codes_batches or _CODES_BATCHES
        batches = self._order(CODES_STREAM, ranks=ALONE)  # every rank makes the codes of whole batches
        frames = (self._read(self._context(self._placed(next(batches))[0])) for _ in range(count))
        noise = step_generator(self.seed, CODES_STREAM, 0)
        initialize_first_codes(self.lam, frames, self.compute, self.parallel, noise, self.accumulate)
        batches.close()

    def networks(self) -> dict[str, nn.Module]:
        """Return the LAM and the dynamics."""
        return {"latent_actions": self.lam, "dynamics": self.dynamics}

    def _saved(self) -> dict[str, nn.Module]:
        """Return all networks that checkpoints hold."""
        return self.networks() | ({} if self.prior is None else {_PRIOR: self.prior})

    def optimizers(self) -> dict[str, Optimizer]:
        """Return the optimizers."""
        return {"lam_optimizer": self.lam_optimizer, "optimizer": self.optimizer}

    def tensors(self) -> dict[str, Tensor]:
        """Return weights, codebook and optimizer states; of a divided dynamics on the first rank alone."""
        others = {name: network.state_dict() for name, network in self._saved().items() if name != "dynamics"}
        others |= {"lam_optimizer": self.lam_optimizer.tensors(), _RECALLED: self.recalled.tensors()}
        return self._large.tensors() | {
            f"{name}.{key}": tensor for name, state in others.items() for key, tensor in state.items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Load a checkpoint."""
        own = self._large.own(tensors)
        networks = {**self._saved(), "dynamics": self._large.state()}
        self.recalled.load(part_of(_RECALLED, own))
        load_states(networks, self.optimizers(), {k: v for k, v in own.items() if not k.startswith(f"{_RECALLED}.")})
        # codes are of a LAM that has taken other steps
        self.kept_of_frozen.clear()
        if self.code_cache is not None:
            self.code_cache.clear()

    def finish(self) -> None:
        """Make the dynamics whole again on the first rank, after the last step; all ranks call this."""
        self.dynamics = self._large.whole(self.dynamics, self._fresh_dynamics)

    def about(self) -> dict[str, Any]:
        """Return the samples that were skipped on any rank, and the position in the order of windows."""
        return self.batches.about()

    def load_about(self, about: Mapping[str, Any]) -> None:
        """Skip the samples that were skipped before, and go on in the order of windows."""
        self.batches.load_about(about)
