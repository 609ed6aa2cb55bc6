"""Measure a world model on held-out clips: all metrics, the gates, and rollouts of each latent action.

Nothing is written here; `models.evaluation.evaluate` publishes what this returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.evaluation.action_names import ActionName
from models.evaluation.baselines import fit_patch_codebook
from models.evaluation.character import CharacterFigures, measure_character
from models.evaluation.codes import infer_clip_actions, measure_codes, true_action_shares
from models.evaluation.control import measure_control
from models.evaluation.drift import MODES, Drift, measure_drift
from models.evaluation.explained import measure_explained
from models.evaluation.fidelity.figure import Figures
from models.evaluation.fidelity.of_world import measure_world_fidelity
from models.evaluation.gates import Gate, check_gates
from models.evaluation.held_actions import measure_held_actions
from models.evaluation.held_out import HeldOutClip
from models.evaluation.metric import Metric, Metrics
from models.evaluation.reconstruction import measure_reconstruction
from models.evaluation.translate import translate
from models.evaluation.uncertainty import Uncertainty, WatchedFrames, measure_uncertainty
from models.evaluation.windows import Windows, cut_windows
from models.evaluation.world_interface import World
from models.features.choose import MissingNet
from models.features.net import FeatureNet
from models.runtime.cpu_parallel import CpuParallel
from pipeline.config import Config
from pipeline.config.evaluation import EvaluationConfig
from pipeline.progress import Progress, ProgressCallback


@dataclass(frozen=True, eq=False)
class WorldMeasurement:
    """Everything that was measured of a world."""

    metrics: Metrics
    drift: Drift
    uncertainty: Uncertainty | None
    """None where it was not asked for."""
    character: CharacterFigures
    fidelity: Figures
    """Distances of rollouts from true videos; empty without networks of features."""
    gates: dict[str, Gate]
    num_sources: int
    """Held-out sources."""
    num_clips: int
    num_windows: int
    enough_sources: bool
    """Whether the intervals mean much; see `evaluation.min_sources`."""
    action_names: list[ActionName]
    action_consistency: list[Metric]
    """Per latent action, see `models.evaluation.consistency`."""
    clip_codes: list[np.ndarray]
    """Latent actions (T - 1,) of each clip; true ones where these lead the world."""
    true_action_shares: list[dict[str, float]]
    """Per latent action, see `models.evaluation.codes.true_action_shares`."""
    clip_psnr: dict[str, float]
    """PSNR of the next frame by clip_id, mean over the clip's windows: which clips the world predicts badly."""
    held_ATHWC: np.ndarray
    """One rollout per latent action, from the middle frame of the first clip; uint8."""

    def as_json(self) -> dict[str, Any]:
        """Return the document that is published as the metrics of an evaluation."""
        named = zip(self.action_names, self.true_action_shares, self.action_consistency, strict=True)
        return {
            **self.metrics,
            **self.drift.as_json(),
            **({} if self.uncertainty is None else self.uncertainty.as_json()),
            **self.character.as_json(),
            **self.fidelity,
            "gates": self.gates,
            "num_sources": self.num_sources,
            "num_clips": self.num_clips,
            "num_windows": self.num_windows,
            "enough_sources": self.enough_sources,
            # a list, as JSON has it: what was just measured equals what is read again
            "latent_actions": [
                {**asdict(name), "keys": list(name.keys), "true_actions": shares, "consistency": consistency}
                for name, shares, consistency in named
            ],
        }


def measure_world(
    world: World,
    clips: Sequence[HeldOutClip],
    codebook_frames: np.ndarray,
    config: Config,
    *,
    doubt: bool = True,
    nets: Sequence[FeatureNet | MissingNet] = (),
    parallel: CpuParallel | None = None,
    on_progress: ProgressCallback | None = None,
) -> WorldMeasurement:
    """Return all metrics of a world on held-out clips.

    Args:
        world: the world model.
        clips: held-out clips, at least one; all have `codes` where true actions lead the world.
        codebook_frames: training frames (N, H, W, C), uint8, that the k-means baseline is fitted on.
        config: `evaluation`, and the tokenizer's patch and codebook size for the k-means baseline.
        doubt: whether the world's doubt is calibrated too.
        nets: networks on whose features fidelity is measured; without any it is not.
        parallel: threads for these networks.
        on_progress: progress callback.
    """
    settings = config.evaluation
    with Progress(
        "world_evaluation", total=_passes(settings) + doubt + bool(nets), unit="passes", on_progress=on_progress
    ) as progress:
        codebook = fit_patch_codebook(
            codebook_frames,
            patch=config.tokenizer.patch,
            num_codes=config.tokenizer.codebook_size,
            max_patches=settings.kmeans_patches,
            seed=settings.seed,
        )
        windows = cut_windows(clips, settings)
        metrics = measure_reconstruction(world, windows, codebook, settings)
        progress.advance()
        own = [clip.codes for clip in clips if clip.codes is not None]
        codes, times, because = own, np.arange(max(map(len, own), default=0)), "true actions led the dynamics"
        if len(own) < len(clips):
            (codes, times), because = infer_clip_actions(world, clips), ""
        metrics |= measure_codes(clips, codes, times, world.num_actions, settings, unknown_because=because)
        metrics |= {} if because else measure_explained(clips, codes, world.num_actions, settings)
        progress.advance()
        by_window: dict[str, np.ndarray] = {}
        # a world that true actions lead needs no translation
        truth = [None if because else clip.actions for clip in clips]
        translated = translate(truth, codes, [clip.video_id for clip in clips], world.num_actions)
        metrics |= measure_control(world, windows, codes, settings, progress.advance, by_window, translated=translated)
        drift = measure_drift(world, clips, codes, settings, progress.advance)
        watched: list[WatchedFrames] = []
        uncertainty = measure_uncertainty(world, clips, codes, settings, progress.advance, watched) if doubt else None
        held = measure_held_actions(world, clips, settings)
        shares = true_action_shares(clips, codes, world.num_actions)
        character = measure_character(world, clips, codes, shares, settings, progress.advance)
        progress.advance()
        fidelity = measure_world_fidelity(
            world, clips, codes, nets, settings, progress.advance, parallel, next(iter(watched), None)
        )
    metrics |= held.metrics
    sources = len({clip.video_id for clip in clips})
    return WorldMeasurement(
        metrics=metrics,
        drift=drift,
        uncertainty=uncertainty,
        character=character,
        fidelity=fidelity,
        gates=check_gates(
            {**metrics, **drift.metrics, **character.metrics, **(uncertainty.metrics if uncertainty else {})},
            sources,
            settings,
        ),
        num_sources=sources,
        num_clips=len(clips),
        num_windows=len(windows.clips),
        enough_sources=sources >= settings.min_sources,
        action_names=held.names,
        action_consistency=held.consistency,
        clip_codes=codes,
        true_action_shares=shares,
        clip_psnr=_by_clip(clips, windows, by_window["psnr_t1"]),
        held_ATHWC=held.shown_ATHWC,
    )


def _by_clip(clips: Sequence[HeldOutClip], windows: Windows, value_N: np.ndarray) -> dict[str, float]:
    of_clip = np.array(windows.clips)
    return {clip.clip_id: float(value_N[of_clip == place].mean()) for place, clip in enumerate(clips)}


def _passes(settings: EvaluationConfig) -> int:
    # under inferred, random and true actions
    rollouts = len({1, settings.prompt_frames}) + 2 * settings.random_draws + 1
    # reconstruction, codes, the character under inferred and under held actions, and the rollouts that name actions
    return rollouts + len(MODES) + 5
