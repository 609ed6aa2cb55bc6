"""Evaluate the published world model on held-out sources: figures, gates and pictures, written once per input.

Input are the `val` shards, the newest world model and the evaluation's settings; output is one row of `models` with
kind `world_evaluation` and, in its folder, the pictures that the report and the play page show:

    contact-sheet.png    true and reconstructed frames
    rollouts.png, .gif   one rollout per latent action from the same start frame
    start-00.png ...     start frames of the play page
    pictures.json        the clips behind each of them, and what each latent action does

On a laptop: `evaluate(Store("lampworks-data"), preset("demo"), home)`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.evaluation import pictures
from models.evaluation.action_names import ActionName, name_actions
from models.evaluation.baselines import fit_patch_codebook
from models.evaluation.drift import MODES, measure_drift
from models.evaluation.held_out import HeldOutClip, held_out_clips, shards_version, training_frames
from models.evaluation.measure import (
    Figures,
    cut_windows,
    infer_clip_actions,
    judge,
    measure_codes,
    measure_control,
    measure_reconstruction,
)
from models.evaluation.rollouts import SideBySide, World, decode, encode, hold_each_action
from models.registry import WORLD, folder_of
from models.runtime.compute import choose_compute, threads_a_product
from models.runtime.cpu_parallel import CpuParallel
from models.world.load import load_world
from pipeline.arcade.platformer import ACTIONS
from pipeline.config import Config, fingerprint
from pipeline.errors import UserError
from pipeline.progress import Progress, ProgressCallback
from pipeline.shards.read import current_shards
from pipeline.storage.home import Home
from pipeline.storage.models_table import ModelRecord, append_model, newest_model
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

KIND = "world_evaluation"
_METHOD = 1  # rises when a figure changes its meaning: older evaluations are then not current
_SHEET_CLIPS, _NAMING_STARTS, _NAMING_FRAMES = 3, 6, 4


@dataclass(frozen=True)
class EvaluationReport:
    """What an evaluation found."""

    evaluation_id: str
    skipped: bool
    """Nothing was due: the row is from an earlier run."""
    figures: dict[str, Any]
    """The row's figures: each {value, low, high, num_sources}; `gates`, `num_sources`, `latent_actions`."""
    folder: str
    """Key of the folder of pictures."""

    @property
    def gates(self) -> dict[str, dict[str, Any]]:
        """Return {name: {passed, value, threshold}}."""
        return dict(self.figures["gates"])

    def lines(self) -> list[str]:
        """Return the figures for people, a line each, the gates that failed last."""
        shown = [f"{name}: {_text(figure)}" for name, figure in self.figures.items() if _is_figure(figure)]
        failed = [name for name, gate in self.gates.items() if gate["passed"] is False]
        if not self.figures["enough_sources"]:
            shown.append(
                f"only {self.figures['num_sources']} held-out sources, fewer than "
                f"{self.gates['enough_sources']['threshold']}: the intervals mean little"
            )
        return [*shown, f"gates failed: {', '.join(failed) or 'none'}"]


def evaluation_is_current(store: Store, config: Config) -> bool:
    """Tell whether the newest evaluation is of the current world model, shards and settings."""
    newest, inputs = newest_model(store, KIND), _inputs(store, config)
    return newest is not None and inputs is not None and newest.model_id == _id_of(inputs)


def evaluate(
    store: Store, config: Config, home: Home | None, *, on_progress: ProgressCallback | None = None
) -> EvaluationReport:
    """Measure the newest world model on held-out sources and publish figures and pictures.

    Args:
        store: shards and models are read, the evaluation is written.
        config: the settings `evaluation` and `training` (device).
        home: where the embedded source's true actions lie; None looks none up.
        on_progress: hears the progress.

    Raises:
        UserError: there is no world model, or no held-out clip.
    """
    version = shards_version(store)
    inputs = _inputs(store, config)
    if inputs is None:
        raise UserError(f"{store.root} has no world model yet: materialize world_model first (`lampworks run`).")
    evaluation_id = _id_of(inputs)
    folder = folder_of(KIND, evaluation_id)
    newest = newest_model(store, KIND)
    if newest is not None and newest.model_id == evaluation_id:
        return EvaluationReport(evaluation_id, True, dict(newest.metrics), folder)
    with threads_a_product():
        compute = choose_compute(config.training)
        world = SideBySide(load_world(store, inputs["world_model"], compute), CpuParallel(compute))
        clips = held_out_clips(store, config, home)
        if not clips:
            raise UserError(
                "no source is held out: the val shards are empty. Raise split.val_share, or add or keep more videos."
            )
        codebook_frames = training_frames(store)
        figures, held, names = _measured(world, clips, codebook_frames, config, on_progress)
        blobs = _pictures(world, clips, held, names, config)
    # someone may have asked for a takedown while this was at work: what is shown must not hide it
    gone = taken_down(store).hidden_videos(store)
    if any(clip.video_id in gone for clip in clips):
        return evaluate(store, config, home, on_progress=on_progress)
    for name, data in blobs.items():
        store.write_blob(f"{folder}/{name}", data)
    record = ModelRecord(
        model_id=evaluation_id,
        kind=KIND,
        path=folder,
        config=asdict(config.evaluation),
        metrics=figures,
        inputs=inputs,
        shards_version=version,
    )
    append_model(store, record)
    return EvaluationReport(evaluation_id, False, figures, folder)


def measure_world(
    world: World,
    clips: Sequence[HeldOutClip],
    codebook_frames: np.ndarray,
    config: Config,
    *,
    on_progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Return all figures of a world on clips, as `evaluate` publishes them; nothing is written."""
    return _measured(world, clips, codebook_frames, config, on_progress)[0]


def _measured(
    world: World,
    clips: Sequence[HeldOutClip],
    codebook_frames: np.ndarray,
    config: Config,
    on_progress: ProgressCallback | None,
) -> tuple[dict[str, Any], np.ndarray, list[ActionName]]:
    settings = config.evaluation
    passes = len({1, settings.prompt_frames}) * (1 + 2 * settings.random_draws)
    with Progress(
        "world_evaluation", total=passes + 3 + len(MODES), unit="passes", on_progress=on_progress
    ) as progress:
        codebook = fit_patch_codebook(
            codebook_frames,
            patch=config.tokenizer.patch,
            num_codes=config.tokenizer.codebook_size,
            max_patches=settings.kmeans_patches,
            seed=settings.seed,
        )
        windows = cut_windows(clips, settings)
        figures: Figures = measure_reconstruction(world, windows, codebook, settings)
        progress.advance()
        codes, times = infer_clip_actions(world, clips)
        figures |= measure_codes(clips, codes, times, world.num_actions, settings)
        progress.advance()
        figures |= measure_control(world, windows, codes, settings, progress.advance)
        figures |= measure_drift(world, clips, codes, settings, progress.advance)
        starts = np.stack([clip.frames_THWC[len(clip.frames_THWC) // 2] for clip in clips])
        named = hold_each_action(world, starts[:_NAMING_STARTS], _NAMING_FRAMES, settings, seed=settings.seed)
        names = name_actions(named)
        held = hold_each_action(world, starts[:1], settings.rollout_frames, settings, seed=settings.seed)
        progress.advance()
    # a code may follow the actions and yet mean another thing in every other frame: then no key can be held
    figures["steady_actions"] = {"value": len({name.symbol for name in names if name.moves})}
    sources = len({clip.video_id for clip in clips})
    used = true_use(clips, codes, world.num_actions)
    return (
        {
            **figures,
            "gates": judge(figures, sources, settings),
            "num_sources": sources,
            "num_clips": len(clips),
            "num_windows": len(windows.clips),
            "enough_sources": sources >= settings.min_sources,
            "latent_actions": [{**asdict(name), "true_actions": used[name.code]} for name in names],
        },
        held[0],
        names,
    )


def true_use(clips: Sequence[HeldOutClip], codes: Sequence[np.ndarray], num_codes: int) -> list[dict[str, float]]:
    """Return, for each latent action, the shares of the true actions that it stood for ({} where unknown)."""
    counts = np.zeros((num_codes, len(ACTIONS)), np.int64)
    for clip, own in zip(clips, codes, strict=True):
        if clip.actions is not None:
            np.add.at(counts, (own, clip.actions), 1)
    return [
        {name: round(float(count / row.sum()), 4) for name, count in zip(ACTIONS, row, strict=True) if count}
        for row in counts
    ]


def _pictures(
    world: World, clips: Sequence[HeldOutClip], held: np.ndarray, names: Sequence[ActionName], config: Config
) -> dict[str, bytes]:
    settings = config.evaluation
    length = settings.prompt_frames + settings.horizon
    shown = _one_a_source(clips, _SHEET_CLIPS)
    truth = np.stack([clip.frames_THWC[:length] for clip in shown])
    blobs = {
        "contact-sheet.png": pictures.contact_sheet(truth, decode(world, encode(world, truth))),
        "rollouts.png": pictures.rollout_sheet(held, names),
        "rollouts.gif": pictures.rollout_gif(held, names),
    }
    starts = []
    for index, clip in enumerate(_one_a_source(clips, settings.start_frames)):
        frame, file = len(clip.frames_THWC) // 2, f"start-{index:02d}.png"
        blobs[file] = pictures.png_of(clip.frames_THWC[frame])
        starts.append({"file": file, "clip_id": clip.clip_id, "video_id": clip.video_id, "frame": frame})
    about = {
        "contact_sheet": {"file": "contact-sheet.png", "clips": [clip.clip_id for clip in shown]},
        "rollouts": {
            "files": ["rollouts.png", "rollouts.gif"],
            "clips": [clips[0].clip_id],
            "frame": len(clips[0].frames_THWC) // 2,
        },
        "start_frames": starts,
        "latent_actions": [asdict(name) for name in names],
    }
    blobs["pictures.json"] = json.dumps(about, indent=1, sort_keys=True).encode()
    return blobs


def _one_a_source(clips: Sequence[HeldOutClip], count: int) -> list[HeldOutClip]:
    first = {clip.video_id: clip for clip in reversed(clips)}
    return [clip for clip in clips if first[clip.video_id] is clip][:count]


def _inputs(store: Store, config: Config) -> dict[str, Any] | None:
    world = newest_model(store, WORLD)
    if world is None:
        return None
    return {
        "world_model": world.model_id,
        "shards": current_shards(store),
        "settings": asdict(config.evaluation),
        "codebook": [config.tokenizer.patch, config.tokenizer.codebook_size],
        "taken_down": store.version("takedowns"),
        "method": _METHOD,
    }


def _id_of(inputs: Mapping[str, Any]) -> str:
    return fingerprint(dict(inputs))


def _is_figure(figure: object) -> bool:
    return isinstance(figure, dict) and "value" in figure


def _text(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"not known: {figure['reason']}"
    if figure.get("low") is None:
        return f"{figure['value']:.3g}"
    return f"{figure['value']:.2f} [{figure['low']:.2f}, {figure['high']:.2f}]"
