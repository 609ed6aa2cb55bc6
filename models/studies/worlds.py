"""Train tokenizers and worlds for a study, and measure them by held-out source.

What several runs share (a tokenizer, say) is trained once. It lies as a checkpoint among the study's files, from which
a study that was killed goes on, and is deleted when the study is complete. Studies of other versions, data or settings
have folders of their own there.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from models.bench.levels import drawn_clips, windows_of
from models.evaluation.codes import infer_clip_actions, measure_codes
from models.evaluation.control import measure_control
from models.evaluation.cpu_parallel_world import CpuParallelWorld
from models.evaluation.held_out import HeldOutClip
from models.evaluation.next_frame import next_frames
from models.evaluation.rollouts import decode, encode
from models.evaluation.windows import cut_windows
from models.metrics import per_source, psnr
from models.networks.tokenizer import VideoTokenizer
from models.runtime.compute import choose_compute, intra_op_threads, prepare_training
from models.runtime.cpu_parallel import CpuParallel
from models.studies.runner import parts_of
from models.studies.study import Scope, Size, Study
from models.studies.video_distance import video_distance, video_net
from models.training.checkpoint import Checkpoints
from models.training.data import ClipWindows, check_window
from models.training.loop import run
from models.training.tokenizer_training import TokenizerTraining
from models.training.world_training import WorldTraining
from models.world.world import WorldModel
from pipeline.config import Config, fingerprint
from pipeline.config.evaluation import EvaluationConfig
from pipeline.config.training import TrainingConfig
from pipeline.progress import ProgressCallback
from pipeline.storage.store import Store

_BATCH, _PARTS = 32, "parts"
_CODES_BATCHES: dict[Size, int] = {"tiny": 2, "toy": 40, "full": 100}
"""Batches whose latents a LAM's first codes are made from: of 100, at toy size, they take a third of a world's time."""
_MI = "latent_action_mutual_information"
Opened = Callable[[TrainingConfig], AbstractContextManager[ClipWindows]]


class Footage(NamedTuple):
    """What a study trains and measures on."""

    windows: Opened
    """Returns the training windows; close them after use."""
    held_out: Sequence[HeldOutClip]
    version: str
    """Changes with the clips."""
    true_actions: Callable[[str], np.ndarray | None] | None = None
    """Returns the true actions (T - 1,) of a training clip, where they are known."""


def drawn_levels(train: range, held_out: range, num_frames: int) -> Footage:
    """Return levels of the embedded platformer as they are drawn, each a source of its own."""
    clips = drawn_clips(train, num_frames)
    actions = {clip.clip_id: clip.actions for clip in clips}

    def true_actions(clip_id: str) -> np.ndarray | None:
        found = actions[clip_id]
        return None if found is None else found.astype(np.int8)

    return Footage(
        lambda training: windows_of(clips, training),
        drawn_clips(held_out, num_frames),
        f"levels {train.start}-{train.stop} and {held_out.start}-{held_out.stop} of {num_frames} frames",
        true_actions,
    )


class Workshop:
    """Trains what the runs of one study need."""

    def __init__(self, scope: Scope, study: Study) -> None:
        """Keep states of a study below the folder of its scope, apart from those of other runs, data and versions."""
        self._store, self._root = Store(scope.folder), scope.folder / _PARTS
        self._study, self._codes_batches = study, _CODES_BATCHES[scope.size]

    @cached_property
    def _name(self) -> str:
        # the data of a study are not read before something is trained
        return parts_of(self._study)

    def tokenizer(self, config: Config, footage: Footage, say: ProgressCallback | None = None) -> VideoTokenizer:
        """Return the tokenizer of a configuration, trained here or before."""
        kept = self._kept("tokenizer", footage.version, config.tokenizer, config.training.seed)
        with intra_op_threads(), footage.windows(config.training) as windows:
            check_window(windows, config.tokenizer.window, "tokenizer.window")
            compute = choose_compute(config.training)
            training = TokenizerTraining(
                config.tokenizer, windows, compute, seed=config.training.seed, accumulate=config.training.accumulate
            )
            prepare_training(training.tokenizer, config.training, compute.device, steps=training.total_steps)
            run(training, kept, stage="tokenizer", checkpoint_every=config.training.checkpoint_every, on_progress=say)
            return training.tokenizer.eval()

    def world(
        self,
        config: Config,
        tokenizer: VideoTokenizer,
        footage: Footage,
        say: ProgressCallback,
        *,
        about: str,
        oracle: bool = False,
    ) -> WorldTraining:
        """Return the LAM and the dynamics of a configuration on a tokenizer, trained here or before.

        Args:
            config: sizes, rates and steps.
            tokenizer: gives the tokens.
            footage: what is trained on.
            say: takes progress.
            about: tells the tokenizer, by which the state of a training that was killed is found again.
            oracle: true actions lead the dynamics, and no LAM learns.
        """
        sections = (config.latent_actions, config.dynamics)
        kept = self._kept("world", footage.version, about, *sections, config.training.seed, oracle)
        with intra_op_threads(), footage.windows(config.training) as windows:
            check_window(windows, config.dynamics.drawn_frames, config.dynamics.drawn_by)
            compute = choose_compute(config.training)
            training = WorldTraining(
                config.latent_actions, config.dynamics, tokenizer, windows, compute, seed=config.training.seed,
                truth_actions=footage.true_actions if oracle else None, accumulate=config.training.accumulate,
                cache_tokens=config.training.cache_tokens, codes_batches=self._codes_batches,
            )  # fmt: skip
            for network in training.networks().values():
                prepare_training(network, config.training, compute.device, steps=training.total_steps)
            run(training, kept, stage="world", checkpoint_every=config.training.checkpoint_every, on_progress=say)
            for network in training.networks().values():
                network.eval()
            return training

    def clear(self) -> None:
        """Delete the states of this study; those of others stay."""
        shutil.rmtree(self._root / self._name, ignore_errors=True)
        with contextlib.suppress(OSError):  # there are others, or there was none
            self._root.rmdir()

    def _kept(self, kind: str, *parts: object) -> Checkpoints:
        return Checkpoints(self._store, f"{_PARTS}/{self._name}/{kind}-{fingerprint(*parts)}/checkpoints")


class Inferred(NamedTuple):
    """What does not depend on how frames are sampled."""

    codes: list[np.ndarray]
    """Actions (T - 1,) of each held-out clip: latent ones, or true ones where these lead the dynamics."""
    by_clip: dict[str, np.ndarray]
    """`cross_entropy`, `accuracy` and `accuracy_changed` of the next frame's tokens, by clip."""
    information: float | None
    """Of latent and true actions, in nat."""


def infer(
    training: WorldTraining, clips: Sequence[HeldOutClip], settings: EvaluationConfig, *, oracle: bool = False
) -> Inferred:
    """Return the actions of held-out clips, and how well the next frame is predicted under them."""
    with intra_op_threads():
        world, information = _playable(training), None
        if oracle:
            codes = [clip.actions for clip in clips if clip.actions is not None]
        else:
            codes, times = infer_clip_actions(world, clips)
            information = measure_codes(clips, codes, times, world.num_actions, settings)[_MI]["value"]
        of_clip = next_frames(
            training.tokenizer, training.lam, training.dynamics, clips, codes, compute=training.compute,
            windows_per_clip=8 * settings.windows_per_clip,
        )  # fmt: skip
        return Inferred(codes, of_clip._asdict(), information)


def measure(
    training: WorldTraining, clips: Sequence[HeldOutClip], settings: EvaluationConfig, inferred: Inferred
) -> dict[str, Any]:
    """Return figures of a world by held-out source, in the order of their ids.

    `cross_entropy` (nat), `accuracy` and `accuracy_changed` of the next frame's tokens, `psnr` of the tokenizer,
    `psnr_t1`, .. of rollouts, `delta_t_psnr` and `delta_t_psnr_permuted` (dB): a list with a value per source each,
    None where there is none. `mutual_information` of latent and true actions is one number (nat), or None.

    Args:
        training: the world.
        clips: held-out clips.
        settings: windows, sampling and seed.
        inferred: what `infer` returned for the world and the clips.
    """
    with intra_op_threads():
        world, windows = _playable(training), cut_windows(clips, settings)
        with torch.inference_mode():
            rebuilt = psnr(windows.video_NTHWC, decode(world, encode(world, windows.video_NTHWC))).mean(1)
        by_window: dict[str, np.ndarray] = {"psnr": rebuilt}
        measure_control(world, windows, inferred.codes, settings, by_window=by_window)
    sources = [clip.video_id for clip in clips]
    values = {name: per_source(value, sources) for name, value in inferred.by_clip.items()}
    values |= {name: per_source(value, windows.sources) for name, value in by_window.items()}
    return {
        **{name: [None if np.isnan(one) else round(float(one), 6) for one in value] for name, value in values.items()},
        "mutual_information": inferred.information,
    }


def rollouts_distance(
    training: WorldTraining, clips: Sequence[HeldOutClip], settings: EvaluationConfig, inferred: Inferred
) -> dict[str, Any]:
    """Return the Frechet video distance of rollouts of a world (`models.studies.video_distance`)."""
    with intra_op_threads():
        height, width = clips[0].frames_THWC.shape[1:3]
        net = video_net((settings.fidelity_frames, height, width))
        return video_distance(_playable(training), clips, inferred.codes, settings, net)


def _playable(training: WorldTraining) -> CpuParallelWorld:
    model = WorldModel(training.tokenizer, training.lam, training.dynamics, compute=training.compute)
    return CpuParallelWorld(model, CpuParallel(training.compute, _BATCH))
