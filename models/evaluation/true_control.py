"""All that needs true actions: the matrix of actions, consistency, probe, and what an inverse-dynamics network reads.

True actions are those of the embedded game, or of a sidecar beside any recording (docs/data.md, True actions).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from models.evaluation.accuracy import ENDS
from models.evaluation.action_matrix import action_matrix
from models.evaluation.codes import infer_clip_actions, names_of
from models.evaluation.consistency import TRUE_NAME, measure_consistency, true_tables
from models.evaluation.held_out import HeldOutClip
from models.evaluation.inverse_dynamics import measure_inverse_dynamics, nothing_read, stands_for
from models.evaluation.labelled import LabelledClips, label_clips, training_clips_with_actions
from models.evaluation.metric import Metrics, unknown
from models.evaluation.probe import CODES, VECTORS, measure_probe, one_hot
from models.evaluation.true_actions import led_by_true_actions
from models.evaluation.windows import cut_windows
from models.evaluation.world_interface import World
from models.inverse_dynamics.network import WIDTH
from models.inverse_dynamics.reader import ActionReader, train_reader
from models.inverse_dynamics.stored import ABOUT, WEIGHTS, files_of, reader_of
from models.runtime.cpu_parallel import CpuParallel
from models.runtime.weights import WeightsError
from pipeline.config import Config, fingerprint
from pipeline.config.evaluation import EvaluationConfig
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.model_ids import EVALUATION
from pipeline.progress import Progress
from pipeline.storage.damage import DamagedError
from pipeline.storage.models_table import ModelRecord, models_of_kind, read_model_file
from pipeline.storage.store import Store

_LOGGER = logging.getLogger(__name__)
_METHOD = 1
"""Rises when another network is trained on the same clips and settings."""
_MEANING_SOURCES = 12
"""So many training sources say what latent actions stand for: inferring them costs more than all else here."""
_LED = "true actions led the dynamics"
Vectors = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class TrueControl:
    """What true actions tell of a world."""

    metrics: Metrics
    about: dict[str, Any] = field(default_factory=dict)
    """`latent_action_matrix` and `inverse_dynamics`, as JSON has them."""
    files: dict[str, bytes] = field(default_factory=dict)
    """The action reader's, to lie beside the evaluation; empty where none was trained."""


def measure_true_control(
    job: Job,
    world: World,
    vectors: Vectors,
    clips: Sequence[HeldOutClip],
    clip_codes: Sequence[np.ndarray],
    config: Config,
    led_by: Mapping[str, Any] | None,
    parallel: CpuParallel,
) -> TrueControl:
    """Return all figures that need true actions; those that cannot be told say why.

    Args:
        job: its store holds the shards, its home the truth of the embedded source.
        world: the world model.
        vectors: returns the latents (B, T - 1, L) of a video before they become codes.
        clips: held-out clips, with true actions where these are known.
        clip_codes: latent actions (T - 1,) of each clip; true ones where these lead the world.
        config: the settings.
        led_by: what the world's row says of the true actions that lead it; None for latent actions.
        parallel: threads that clips are divided among.
    """
    settings = config.evaluation
    with Progress("true_control", total=3, unit="parts", on_progress=job.on_progress) as progress:
        known = _known(clips)
        latent: Sequence[np.ndarray] = () if led_by is not None else clip_codes
        told = measure_latent_actions(known, latent, world.num_actions, settings)
        told.metrics.update(_probe_vectors(vectors, clips, known, settings, parallel, led=led_by is not None))
        progress.advance()
        if not settings.inverse_dynamics:
            return told
        train = training_clips_with_actions(job.store, config, job.home, world.num_actions)
        labelled = label_clips(train, clips, world.num_actions)
        key: str | None = None
        files: dict[str, bytes] = {}
        progress.advance()
        if labelled.too_few:
            read = nothing_read(labelled.too_few)
        else:
            key = reader_key(labelled, settings)
            reader, files = _reader(job.store, key, labelled, settings)
            meaning = _meaning(job.store, world, train, labelled, led_by)
            read = measure_inverse_dynamics(
                world, reader, clips, cut_windows(clips, settings), labelled, meaning, settings
            )
        progress.advance()
    about = {**told.about, "inverse_dynamics": {"key": key, **read.about}}
    return TrueControl({**told.metrics, **read.metrics}, about, files)


def measure_latent_actions(
    known: Sequence[HeldOutClip | None], clip_codes: Sequence[np.ndarray], num_codes: int, config: EvaluationConfig
) -> TrueControl:
    """Return the matrix, the consistency and the probe of codes.

    Args:
        known: held-out clips with true actions of one kind; None for one without.
        clip_codes: latent actions of each clip; empty where true actions led the world.
        num_codes: K.
        config: bootstrap draws, shuffles and seed.
    """
    some = [clip for clip in known if clip is not None]
    if not some or not clip_codes:
        why = _LED if some else "no true actions are known for the held-out sources"
        names = [f"{TRUE_NAME}{end}" for end in ("", "_chance", "_above_chance")] + [CODES + end for end in ENDS]
        return TrueControl(dict.fromkeys(names, unknown(why)))
    names_A = names_of(some)
    actions = [None if clip is None else clip.actions for clip in known]
    sources = ["" if clip is None else clip.video_id for clip in known]
    tables = true_tables(clip_codes, actions, sources, num_codes, len(names_A))
    metrics, by_action = measure_consistency(TRUE_NAME, tables, config)
    features = [one_hot(own, num_codes) for own in clip_codes]
    metrics |= measure_probe(CODES, features, actions, sources, len(names_A), config)
    matrix = {**action_matrix(tables, names_A, config), "consistency": by_action}
    return TrueControl(metrics, {"latent_action_matrix": matrix})


def reader_key(labelled: LabelledClips, config: EvaluationConfig) -> str:
    """Return the fingerprint of all that a reader's weights follow from."""
    data = hashlib.sha256()
    for clip in labelled.train:
        data.update(np.ascontiguousarray(clip.frames_THWC).data)
        data.update(clip.actions.astype("<i8").tobytes())
    about = (list(labelled.names), config.inverse_dynamics_steps, config.seed, WIDTH, data.hexdigest())
    return fingerprint("inverse_dynamics", _METHOD, *about)


def _known(clips: Sequence[HeldOutClip]) -> list[HeldOutClip | None]:
    """Return the clips with true actions of the first clip's kind, None in place of the others."""
    names = names_of(clips)
    return [clip if clip.actions is not None and clip.action_names == names else None for clip in clips]


def _probe_vectors(
    vectors: Vectors,
    clips: Sequence[HeldOutClip],
    known: Sequence[HeldOutClip | None],
    config: EvaluationConfig,
    parallel: CpuParallel,
    *,
    led: bool,
) -> Metrics:
    some = [clip for clip in known if clip is not None]
    if led or not some:
        why = _LED if some else "no true actions are known for the held-out sources"
        return {VECTORS + end: unknown(why) for end in ENDS}

    def features_of(clip: HeldOutClip | None) -> np.ndarray:
        return np.zeros((0, 1)) if clip is None else vectors(torch.from_numpy(clip.frames_THWC[None]))[0].cpu().numpy()

    features = parallel.map(features_of, known)
    actions = [None if clip is None else clip.actions for clip in known]
    return measure_probe(VECTORS, features, actions, [clip.video_id for clip in clips], len(names_of(some)), config)


def _reader(
    store: Store, key: str, labelled: LabelledClips, config: EvaluationConfig
) -> tuple[ActionReader, dict[str, bytes]]:
    """Return the reader with a key, and its files: of an earlier evaluation where one has it, else trained now."""
    for record in reversed(models_of_kind(store, EVALUATION)):
        if record.metrics.get("inverse_dynamics", {}).get("key") == key and (found := _stored(store, record)):
            return found
    reader = train_reader(labelled.train, labelled.names, steps=config.inverse_dynamics_steps, seed=config.seed)
    about = {
        "key": key,
        "sources": len({clip.source for clip in labelled.train}),
        "transitions": int(sum((clip.actions >= 0).sum() for clip in labelled.train)),
        "steps": config.inverse_dynamics_steps,
        "seed": config.seed,
    }
    return reader, files_of(reader, about)


def _stored(store: Store, record: ModelRecord) -> tuple[ActionReader, dict[str, bytes]] | None:
    try:
        files = {name: read_model_file(store, record, name) for name in (WEIGHTS, ABOUT)}
        return reader_of(files[WEIGHTS], files[ABOUT]), files
    except (DamagedError, FileNotFoundError, WeightsError) as exc:
        _LOGGER.warning("the action reader of evaluation %s is trained again: %s", record.model_id, exc)
        return None


def _meaning(
    store: Store,
    world: World,
    train: Sequence[HeldOutClip],
    labelled: LabelledClips,
    led_by: Mapping[str, Any] | None,
) -> np.ndarray:
    """Return the true action (K,) that each latent one stands for in a clip of each of the first training sources."""
    names = names_of(train)
    usable = [clip for clip in train if clip.actions is not None and clip.action_names == names]
    first = {
        clip.video_id: (clip, own.actions) for clip, own in reversed(list(zip(usable, labelled.train, strict=True)))
    }
    chosen, actions = zip(*[first[name] for name in sorted(first)[:_MEANING_SOURCES]], strict=True)
    if led_by is None:
        codes, _ = infer_clip_actions(world, chosen)
        return stands_for(codes, actions, world.num_actions, len(labelled.names))
    try:
        led = {clip.clip_id: clip.codes for clip in led_by_true_actions(store, chosen, led_by, "train")}
    except UserError:
        led = {}  # no training clip has actions that the world knows: nothing stands for anything
    pairs = [
        (found, own) for clip, own in zip(chosen, actions, strict=True) if (found := led.get(clip.clip_id)) is not None
    ]
    return stands_for([found for found, _ in pairs], [own for _, own in pairs], world.num_actions, len(labelled.names))
