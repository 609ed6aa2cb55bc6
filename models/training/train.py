"""Train and publish: the video tokenizer first, then latent actions and dynamics together (Genie section 2.2).

    train_tokenizer(job)       # reads the training shards, publishes `video_tokenizer`
    train_world_model(job)     # needs the tokenizer, publishes `world_model`

Both do nothing if the model of the same inputs is published, and continue from the last checkpoint if a run was killed.
The configuration alone fixes the number of steps. Held-out metrics are in the model's row;
`models.evaluation.evaluate` judges them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.registry import Curve, load_tokenizer, parameters_of, publish_model, require_configured
from models.runtime.compute import Compute, choose_compute, hold_memory, intra_op_threads, prepare_training
from models.training.data import ClipWindows, check_window, training_clips
from models.training.event_files import EventFiles
from models.training.finite import what_to_change
from models.training.loop import OnStep, Trainable, run
from models.training.planned_run import PlannedRun, plan_run
from models.training.preflight import check_memory, say_pace
from models.training.starting import begin, check_frame, sentence, start_for
from models.training.tokenizer_training import TokenizerTraining, tokenizer_metrics
from models.training.tracker import MakeTracker, TrackedRun, Tracker
from models.training.world_metrics import world_metrics
from models.training.world_training import TruthActions, WorldTraining
from models.world.world import WorldModel
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.model_choice import is_trained
from pipeline.model_ids import TOKENIZER, WORLD
from pipeline.progress import ProgressCallback, notify
from pipeline.shards.enough import too_few_shards
from pipeline.shards.loader.clips import ListedClips, ShardClips
from pipeline.shards.read import current_shards
from pipeline.shards.sample import restore_advice
from pipeline.storage.models_table import ModelRecord
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down
from pipeline.training_size.parameters import FrameSize, Kind

_NAMED_BAD = 20


@dataclass(frozen=True)
class TrainReport:
    """The published model."""

    kind: str
    model_id: str
    skipped: bool
    """Whether the model is from an earlier run, and nothing was trained."""
    parameters: int
    steps: int
    metrics: dict[str, Any]


def tokenizer_is_current(store: Store, config: Config) -> bool:
    """Tell whether the tokenizer of this configuration and the current shards is published."""
    return is_trained(store, config, TOKENIZER)


def world_model_is_current(store: Store, config: Config) -> bool:
    """Tell whether the world model of this configuration and the current shards is published."""
    return is_trained(store, config, WORLD)


def train_tokenizer(job: Job, *, on_step: OnStep | None = None, make_tracker: MakeTracker | None = None) -> TrainReport:
    """Train the video tokenizer on the current training shards and publish it.

    Args:
        job: its store has the shards and receives checkpoints, blobs and the row; its configuration has `tokenizer` and
            `training`.
        on_step: receives the step (from 1) and its metrics.
        make_tracker: returns where the metrics go; by default what `training.tracker` says.

    Raises:
        UserError: there are no shards, or none to train on.
        NotFiniteError: a gradient, a metric or a weight is not finite; the checkpoints before stay.
    """
    store, config, on_progress = job.store, job.config, job.on_progress
    version = current_shards(store)
    if tokenizer_is_current(store, config):
        return _report(require_configured(store, config, TOKENIZER), skipped=True)
    train, val = _clips(store, version)
    has_val = sum(val.counts) > 0
    planned = plan_run(store, config, TOKENIZER, version, start=start_for(store, config, TOKENIZER))
    compute = choose_compute(config.training)
    with intra_op_threads(), _windows(job, version, train) as windows:
        check_window(windows, config.tokenizer.window, "tokenizer.window")
        _check_memory(job, TOKENIZER, compute, windows)
        training = TokenizerTraining(
            config.tokenizer, windows, compute, seed=config.training.seed, accumulate=config.training.accumulate
        )
        if planned.start is not None:
            check_frame(planned.start, training.tokenizer.height, training.tokenizer.width)
        _prepare(config, compute, on_progress, tokenizer=training.tokenizer)
        curve, run_about = _run(job, planned, training, compute, on_step, make_tracker)
        training.tokenizer.eval()
        count = config.training.eval_windows
        held = _windows(job, version, val if has_val else train, cache_clips=1)
        metrics = tokenizer_metrics(training.tokenizer, held, compute, count=count)
    _check_takedown(store, train)
    record = planned.record(
        metrics={**metrics, "held_out": has_val, **_left_out(training, windows, held), **run_about},
        inputs={"clips": windows.num_clips, **_bad_samples(windows)},
        size=(training.tokenizer.height, training.tokenizer.width),
    )
    return _publish(planned, record, {"tokenizer": training.tokenizer}, curve)


def train_world_model(
    job: Job, *, on_step: OnStep | None = None, make_tracker: MakeTracker | None = None
) -> TrainReport:
    """Train latent actions and dynamics on the current shards with their tokenizer, and publish both as one model.

    Args and errors as of `train_tokenizer`; the tokenizer must be published.
    """
    store, config, on_progress = job.store, job.config, job.on_progress
    version = current_shards(store)
    if world_model_is_current(store, config):
        return _report(require_configured(store, config, WORLD), skipped=True)
    source = require_configured(store, config, TOKENIZER).model_id
    train, val = _clips(store, version)
    has_val = sum(val.counts) > 0
    planned = plan_run(store, config, WORLD, version, tokenizer=source, start=start_for(store, config, WORLD))
    compute = choose_compute(config.training)
    with intra_op_threads(), _windows(job, version, train) as windows:
        check_window(windows, config.dynamics.drawn_frames, config.dynamics.drawn_by)
        _check_memory(job, WORLD, compute, windows)
        training = _world_training(store, config, source, windows, compute)
        _prepare(config, compute, on_progress, latent_actions=training.lam, dynamics=training.dynamics)
        curve, run_about = _run(job, planned, training, compute, on_step, make_tracker)
        training.lam.eval()
        training.dynamics.eval()
        held = _windows(job, version, val if has_val else train, cache_clips=1)
        metrics = world_metrics(training, held, count=config.training.eval_windows)
    networks = {"latent_actions": training.lam, "dynamics": training.dynamics}
    parameters = {f"parameters_{name}": parameters_of(network) for name, network in networks.items()}
    _check_takedown(store, train)
    record = planned.record(
        metrics={**metrics, "held_out": has_val, **_left_out(training, windows, held), **parameters, **run_about},
        inputs={"clips": windows.num_clips, **_bad_samples(windows)},
    )
    return _publish(planned, record, networks, curve)


def train_oracle(
    store: Store,
    config: Config,
    truth_actions: Callable[[str], npt.NDArray[np.int8] | None],
    *,
    on_progress: ProgressCallback | None = None,
    on_step: OnStep | None = None,
) -> tuple[WorldModel, Curve]:
    """Train the dynamics on true actions, and return it as a world whose action k is the true action k.

    Nothing is published. The oracle tells a weak dynamics from an uninformative LAM: see
    `models.training.world_training`.

    Args:
        store: holds the shards and the published tokenizer.
        config: as of `train_world_model`; `latent_actions` needs as many codes and latent values as there are actions.
        truth_actions: returns a clip's true actions by its id, None where unknown: such clips are left out.
        on_progress: receives progress.
        on_step: receives the step (from 1) and its metrics.
    """
    version = current_shards(store)
    train, _ = _clips(store, version)
    clips = [clip for group in range(len(train.counts)) for clip in train.read(group) if not clip.damage]
    known = [clip for clip in clips if truth_actions(clip.clip_id) is not None]
    if not known:
        raise UserError("no training clip has true actions: the oracle needs the embedded source (source.spec: arcade)")
    source = require_configured(store, config, TOKENIZER).model_id
    compute = choose_compute(config.training)
    cache, most = config.training.cache_clips, config.training.max_bad_share
    source_clips = ListedClips(known, store)
    with (
        intra_op_threads(),
        ClipWindows(source_clips, cache_clips=cache, max_bad_share=most, training=config.training) as windows,
    ):
        training = _world_training(store, config, source, windows, compute, truth_actions)
        every = config.training.checkpoint_every
        curve = run(training, None, stage="oracle", checkpoint_every=every, on_progress=on_progress, on_step=on_step)
    return WorldModel(training.tokenizer, training.lam, training.dynamics, compute=compute, model_id="oracle"), curve


def _world_training(
    store: Store,
    config: Config,
    source: str,
    windows: ClipWindows,
    compute: Compute,
    truth_actions: TruthActions | None = None,
) -> WorldTraining:
    return WorldTraining(
        config.latent_actions,
        config.dynamics,
        load_tokenizer(store, source),
        windows,
        compute,
        seed=config.training.seed,
        truth_actions=truth_actions,
        accumulate=config.training.accumulate,
        cache_tokens=config.training.cache_tokens,
    )


def _check_memory(job: Job, kind: Kind, compute: Compute, windows: ClipWindows) -> None:
    _, height, width = windows.shape
    size, clips = FrameSize(height, width), windows.num_clips
    check_memory(job.config, kind, compute, size, clips=clips, on_progress=job.on_progress)


def _prepare(config: Config, compute: Compute, on_progress: ProgressCallback | None, **networks: nn.Module) -> None:
    for name, network in networks.items():
        done = prepare_training(network, config.training, compute.device)
        if done:
            notify(f"{name}: {done}", on_progress)


def _run(
    job: Job,
    planned: PlannedRun,
    training: Trainable,
    compute: Compute,
    on_step: OnStep | None,
    make_tracker: MakeTracker | None,
) -> tuple[Curve, dict[str, Any]]:
    """Train from the newest checkpoint; return the curve, and what the run was like (device, dtype, seconds)."""
    where = f"{compute.device}, {compute.threads} threads, {compute.reason}"
    notify(f"{planned.kind}: {training.total_steps} steps on {where}", job.on_progress)
    on_step = say_pace(planned.kind, training.total_steps, on_step, job.on_progress)
    planned.describe()
    hold_memory()

    begun_at = 0

    def tracker(first_step: int) -> Tracker | None:
        nonlocal begun_at
        begun_at = first_step
        run = TrackedRun(planned.folder_name, planned.kind, planned.settings, first_step)
        return (make_tracker or _event_files(job))(run)

    wall, cpu = time.perf_counter(), time.process_time()
    curve = run(
        training,
        planned.checkpoints,
        stage=planned.kind,
        checkpoint_every=job.config.training.checkpoint_every,
        on_progress=job.on_progress,
        on_step=on_step,
        advice=partial(what_to_change, job.config, planned.kind, planned.folder_name),
        make_tracker=tracker,
        begin=_begin(job, planned, training),
    )
    return curve, {
        **({"resumed_at_step": begun_at} if begun_at else {}),
        "device": str(compute.device),
        "dtype": str(compute.dtype).removeprefix("torch."),
        "threads": compute.threads,
        "torch": torch.__version__,
        "wall_s": round(time.perf_counter() - wall, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
    }


def _begin(job: Job, planned: PlannedRun, training: Trainable) -> Callable[[], tuple[int, Curve]] | None:
    """Return what loads the model or run that a run begins with; None at random."""
    start = planned.start
    if start is None:
        return None

    def begin_and_say() -> tuple[int, Curve]:
        state = begin(job.store, job.config, start, training)
        notify(f"{planned.kind}: {sentence(start, planned.changes, planned.steps)}", job.on_progress)
        return state

    return begin_and_say


def _event_files(job: Job) -> MakeTracker:
    if job.config.training.tracker == "none":
        return lambda run: None
    return lambda run: EventFiles(run, job.home.tensorboard)


def _clips(store: Store, version: str | None) -> tuple[ShardClips, ShardClips]:
    train, val = training_clips(store, version)
    _check_takedown(store, train)
    return train, val


def _windows(job: Job, version: str | None, clips: ShardClips, cache_clips: int | None = None) -> ClipWindows:
    training = job.config.training
    windows = ClipWindows(
        clips,
        cache_clips=cache_clips or training.cache_clips,
        max_bad_share=training.max_bad_share,
        on_progress=job.on_progress,
        restore=restore_advice(version),
        training=training,
    )
    per_shard, workers = job.config.shards.samples_per_shard, windows.num_workers
    tars, samples = len(clips.rows), sum(clips.counts)
    told = too_few_shards(split="train", shards=tars, samples=samples, samples_per_shard=per_shard, workers=workers)
    if told and cache_clips is None:
        notify(told, job.on_progress)
    return windows


def _left_out(training: Trainable, windows: ClipWindows, held: ClipWindows) -> dict[str, int]:
    """Return how many samples the training and the metrics after it skipped, and how many hold no window."""
    passed = (training.about()["loader"] or {}).get("passed", {})
    over = {f"clips_{name}": passed[name] for name in ("short", "cut") if passed.get(name)}
    return {"bad_samples": len(windows.bad), "bad_samples_held_out": len(held.bad), **over}


def _bad_samples(windows: ClipWindows) -> dict[str, Any]:
    """Return the first samples that were skipped, with their reasons; nothing without any."""
    return {"bad_samples": dict(list(windows.bad.items())[:_NAMED_BAD])} if windows.bad else {}


def _check_takedown(store: Store, clips: ShardClips) -> None:
    """Raise if a takedown was requested for a video of these clips: nothing of it may be learned."""
    made_from = store.inputs("shards") or {}
    if made_from.get("tables", {}).get("takedowns") == store.version("takedowns"):
        return  # the set was made after the last takedown
    gone = sorted(taken_down(store).hidden_among(store, clips.videos()))
    if gone:
        raise UserError(
            f"the training shards hold {len(gone)} taken-down videos ({', '.join(gone[:3])}): materialize "
            "`training_shards` again, then train"
        )


def _publish(planned: PlannedRun, record: ModelRecord, networks: Mapping[str, nn.Module], curve: Curve) -> TrainReport:
    published = publish_model(planned.store, record, networks, curve)
    # the state after the last step stays: more steps go on from it
    planned.checkpoints.keep(planned.checkpoints.steps()[-1:])
    return _report(published, skipped=False)


def _report(record: ModelRecord, *, skipped: bool) -> TrainReport:
    assert record.parameters is not None
    assert record.steps is not None
    return TrainReport(record.kind, record.model_id, skipped, record.parameters, record.steps, dict(record.metrics))
