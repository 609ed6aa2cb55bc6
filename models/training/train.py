"""Train and publish: the video tokenizer first, then latent actions and dynamics together (Genie section 2.2).

    train_tokenizer(job)       # reads the training shards, publishes `video_tokenizer`
    train_world_model(job)     # needs the tokenizer, publishes `world_model`

Both do nothing if the model of the same inputs is published, and continue from the last checkpoint if a run was killed.
The configuration alone fixes the number of steps. Held-out metrics are in the model's row;
`models.evaluation.evaluate` judges them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from models.registry import Curve, load_tokenizer, parameters_of, publish_model, require_configured
from models.runtime.compute import Compute, choose_compute, intra_op_threads, prepare_training
from models.runtime.ranks import ALONE, Ranks
from models.tokens.stored import stored_tokens
from models.training.check_ranks import check_ranks
from models.training.checkpoint import Checkpoints
from models.training.data import ClipWindows, check_window
from models.training.held_windows import held_count
from models.training.led_by_truth import led_by_truth
from models.training.loop import OnStep, Trainable
from models.training.planned_run import PlannedRun, plan_run
from models.training.preflight import check_memory
from models.training.report import Report
from models.training.run_planned import run_planned
from models.training.starting import check_frame, check_tokenizer_frame, start_for
from models.training.tokenizer_training import TokenizerTraining, tokenizer_metrics
from models.training.tracker import MakeTracker
from models.training.training_set import (
    bad_samples,
    check_takedown,
    left_out,
    measured_windows,
    train_and_val_clips,
    training_windows,
    windows_on_the_way,
)
from models.training.true_actions import TruthActions
from models.training.world_metrics import world_metrics
from models.training.world_training import WorldTraining
from pipeline.config import Config
from pipeline.job import Job
from pipeline.model_choice import is_trained
from pipeline.model_ids import TOKENIZER, WORLD
from pipeline.progress import ProgressCallback, notify
from pipeline.shards.read import current_shards
from pipeline.storage.models_table import ModelRecord
from pipeline.storage.store import Store
from pipeline.training_size.parameters import FrameSize, Kind


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


def train_tokenizer(
    job: Job,
    *,
    on_step: OnStep | None = None,
    make_tracker: MakeTracker | None = None,
    ranks: Ranks = ALONE,
    report: Report | None = None,
) -> TrainReport:
    """Train the video tokenizer on the current training shards and publish it.

    Args:
        job: its store has the shards and receives checkpoints, blobs and the row; its configuration has `tokenizer` and
            `training`.
        on_step: receives the step (from 1) and its metrics.
        make_tracker: returns where the metrics go; by default what `training.tracker` says.
        ranks: the processes that train together; all call this, and the first publishes.
        report: is told which run it is, and the step that it begins at.

    Raises:
        UserError: there are no shards, or none to train on.
        NotFiniteError: a gradient, a metric or a weight is not finite; the checkpoints before stay.
    """
    store, config, on_progress = job.store, job.config, job.on_progress
    version = current_shards(store)
    if tokenizer_is_current(store, config):
        return _report(require_configured(store, config, TOKENIZER), skipped=True)
    train, val = train_and_val_clips(store, version)
    has_val = sum(val.counts) > 0
    planned = plan_run(store, config, TOKENIZER, version, start=start_for(store, config, TOKENIZER))
    check_ranks(config, TOKENIZER, ranks)
    compute = choose_compute(config.training, ranks)
    with intra_op_threads(), training_windows(job, version, train, ranks) as windows:
        check_window(windows, config.tokenizer.window, "tokenizer.window")
        _check_memory(job, TOKENIZER, compute, windows)
        training = TokenizerTraining(
            config.tokenizer, windows, compute, seed=config.training.seed, accumulate=config.training.accumulate
        )
        if planned.start is not None:
            check_frame(planned.start, training.tokenizer.height, training.tokenizer.width)
        _prepare(config, compute, on_progress, steps=training.total_steps, tokenizer=training.tokenizer)
        seen = windows_on_the_way(job, version, val)
        curve, run_about = run_planned(job, planned, training, compute, on_step, make_tracker, report, seen)
        about = training.about()
        if not ranks.first:
            return _of_the_first(planned, training)
        training.tokenizer.eval()
        held = measured_windows(job, version, val if has_val else train)
        count = _measured(job, held, config.tokenizer.window)
        metrics = tokenizer_metrics(training.tokenizer, held, compute, count=count)
    check_takedown(store, train)
    record = planned.record(
        metrics={**metrics, "held_out": has_val, **left_out(about["loader"], windows, held), **run_about},
        inputs={"clips": windows.num_clips, **bad_samples(windows)},
        size=(training.tokenizer.height, training.tokenizer.width),
    )
    return _publish(planned, record, {"tokenizer": training.tokenizer}, curve)


def train_world_model(
    job: Job,
    *,
    on_step: OnStep | None = None,
    make_tracker: MakeTracker | None = None,
    ranks: Ranks = ALONE,
    report: Report | None = None,
) -> TrainReport:
    """Train latent actions and dynamics on the current shards with their tokenizer, and publish both as one model.

    Args and errors as of `train_tokenizer`; the tokenizer must be published.
    """
    store, config, on_progress = job.store, job.config, job.on_progress
    version = current_shards(store)
    if world_model_is_current(store, config):
        return _report(require_configured(store, config, WORLD), skipped=True)
    source = require_configured(store, config, TOKENIZER).model_id
    train, val = train_and_val_clips(store, version)
    start = start_for(store, config, WORLD)
    truth = led_by_truth(store, config, train, val, start)
    if truth is not None:
        train, val = truth.train, truth.val
        for sentence in truth.sentences():
            notify(f"{WORLD}: {sentence}", on_progress)
    has_val = sum(val.counts) > 0
    planned = plan_run(store, config, WORLD, version, tokenizer=source, start=start)
    check_ranks(config, WORLD, ranks)
    compute = choose_compute(config.training, ranks)
    with intra_op_threads(), training_windows(job, version, train, ranks) as windows:
        check_window(windows, config.dynamics.drawn_frames, config.dynamics.drawn_by)
        _check_memory(job, WORLD, compute, windows)
        actions_of = None if truth is None else truth.actions_of
        stored = stored_tokens(job, source, str(version)) if config.training.read_tokens else None
        training = _world_training(store, config, source, windows, compute, actions_of)
        training.token_cache = stored or training.token_cache
        _prepare(config, compute, on_progress, steps=training.total_steps, **training.networks())
        seen = windows_on_the_way(job, version, val)
        curve, run_about = run_planned(job, planned, training, compute, on_step, make_tracker, report, seen)
        about = training.about()
        if not ranks.first:
            return _of_the_first(planned, training)
        training.lam.eval()
        training.dynamics.eval()
        held = measured_windows(job, version, val if has_val else train)
        metrics = world_metrics(training, held, count=_measured(job, held, config.dynamics.context))
    networks = {"latent_actions": training.lam, "dynamics": training.dynamics}
    parameters = {f"parameters_{name}": parameters_of(network) for name, network in networks.items()}
    check_takedown(store, train)
    record = planned.record(
        metrics={
            **metrics,
            "held_out": has_val,
            **left_out(about["loader"], windows, held),
            **parameters,
            **run_about,
            **({"clips_without_tokens": len(stored.missing)} if stored and stored.missing else {}),
        },
        inputs={
            "clips": windows.num_clips,
            **({} if truth is None else {"true_actions": truth.about()}),
            **bad_samples(windows),
        },
    )
    return _publish(planned, record, networks, curve)


def _world_training(
    store: Store,
    config: Config,
    source: str,
    windows: ClipWindows,
    compute: Compute,
    truth_actions: TruthActions | None = None,
) -> WorldTraining:
    tokenizer, (_, height, width) = load_tokenizer(store, source), windows.shape
    check_tokenizer_frame(source, (tokenizer.height, tokenizer.width), (height, width))
    return WorldTraining(
        config.latent_actions,
        config.dynamics,
        tokenizer,
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


def _measured(job: Job, held: ClipWindows, window: int) -> int:
    asked, setting = job.config.training.eval_windows, "training.eval_windows"
    return held_count(held, asked=asked, window=window, setting=setting, on_progress=job.on_progress)


def _prepare(
    config: Config, compute: Compute, on_progress: ProgressCallback | None, *, steps: int, **networks: nn.Module
) -> None:
    for name, network in networks.items():
        done = prepare_training(network, config.training, compute.device, steps=steps)
        if done:
            notify(f"{name}: {done}", on_progress)


def _publish(planned: PlannedRun, record: ModelRecord, networks: Mapping[str, nn.Module], curve: Curve) -> TrainReport:
    # the state after the last step stays: more steps go on from it. The row comes last: once it is there, nothing
    # starts this run again, and checkpoints that a killed process did not delete would stay
    finished = Checkpoints(planned.store, planned.folder, dataclasses.replace(planned.keep, last=1))
    finished.keep_by_policy(planned.steps)
    return _report(publish_model(planned.store, record, networks, curve), skipped=False)


def _of_the_first(planned: PlannedRun, training: Trainable) -> TrainReport:
    """Return what the other processes know of the model that the first one publishes: no metrics."""
    parameters = sum(parameters_of(network) for network in training.networks().values())
    return TrainReport(planned.kind, planned.model_id, False, parameters, planned.steps, {})


def _report(record: ModelRecord, *, skipped: bool) -> TrainReport:
    assert record.parameters is not None
    assert record.steps is not None
    return TrainReport(record.kind, record.model_id, skipped, record.parameters, record.steps, dict(record.metrics))
