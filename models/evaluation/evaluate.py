"""Evaluate a world model on held-out sources, and publish metrics and pictures once per input.

Inputs are the `val` shards, the world (the configured one, or one named by its id) and the evaluation's settings. The
output is one row of `models`
of kind `world_evaluation`, and a folder with the files of `models.evaluation.picture_files` and, where true actions are
known, the network that reads them (`models.inverse_dynamics`).

On a laptop: `evaluate(Job(Store("lampworks-data"), preset("demo"), home))`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from models.evaluation.cpu_parallel_world import CpuParallelWorld
from models.evaluation.evaluation_report import EvaluationReport
from models.evaluation.held_out import HeldOutClip, held_out_clips, shards_version, training_frames
from models.evaluation.measure import measure_world
from models.evaluation.picture_files import picture_files
from models.evaluation.round_trips import ROUND_TRIPS, measure_round_trips
from models.evaluation.true_actions import led_by_true_actions, with_true_actions
from models.evaluation.true_control import measure_true_control
from models.features.choose import MissingNet, choose_nets
from models.features.net import FeatureNet
from models.features.own import own_features
from models.registry import folder_of, with_tokenizer_of
from models.runtime.compute import choose_compute, intra_op_threads
from models.runtime.cpu_parallel import CpuParallel
from models.world.load import load_world
from models.world.world import WorldModel
from pipeline.config import Config, EvaluationConfig, fingerprint
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.model_choice import evaluation_inputs, models_in_use, pick_model, require_world
from pipeline.model_ids import EVALUATION, TOKENIZER
from pipeline.storage.models_table import ModelRecord, all_models, append_model, find_model
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down


def evaluation_is_current(store: Store, config: Config) -> bool:
    """Tell whether the configured world is evaluated with the present shards and settings."""
    return models_in_use(store, config).evaluation_is_current


def evaluate(job: Job, model: str | None = None) -> EvaluationReport:
    """Measure a world model on held-out sources, and publish metrics and pictures.

    Does nothing where this evaluation is published. True actions of the embedded source are read from the job's home,
    those of other sources from beside the shards.

    Args:
        job: its store, configuration and home.
        model: id of the world; None takes the one that the configuration stands for.

    Raises:
        UserError: there is no such world model, or no held-out clip.
    """
    store = job.store
    version = shards_version(store)
    chosen = require_world(store, job.config, model)
    tokenizer = pick_model(all_models(store), chosen.inputs["tokenizer"], TOKENIZER)
    inputs = evaluation_inputs(store, job.config, chosen, tokenizer)
    evaluation_id = fingerprint(inputs)
    folder = folder_of(EVALUATION, evaluation_id)
    published = find_model(store, EVALUATION, evaluation_id)
    if published is not None:
        return EvaluationReport(evaluation_id, True, published.metrics, folder)
    config = with_tokenizer_of(tokenizer, job.config)
    with intra_op_threads():
        compute = choose_compute(config.training)
        networks, parallel = load_world(store, chosen.model_id, compute), CpuParallel(compute)
        world = CpuParallelWorld(networks, parallel)
        clips = held_out_clips(store, config, job.home)
        if not clips:
            raise UserError(
                "no source is held out: the val shards are empty. Raise split.val_share, or add or keep more videos."
            )
        led_by = chosen.inputs.get("true_actions")
        clips = (
            with_true_actions(store, clips, world.num_actions)
            if led_by is None
            else led_by_true_actions(store, clips, led_by)
        )
        measurement = measure_world(
            world,
            clips,
            training_frames(store),
            config,
            nets=_nets(networks, clips, config.evaluation),
            parallel=parallel,
            on_progress=job.on_progress,
        )
        control = measure_true_control(
            job, world, networks.infer_action_vectors, clips, measurement.clip_codes, config, led_by, parallel
        )
        files = {**picture_files(world, clips, measurement, config.evaluation), **control.files}
        usual = measure_round_trips(world, clips)
    # a takedown may have arrived while this was running: none of its frames may be published
    if taken_down(store).hidden_among(store, {clip.video_id for clip in clips}):
        return evaluate(job, model)
    for name, data in files.items():
        store.write_blob(f"{folder}/{name}", data)
    metrics = {**measurement.as_json(), **control.metrics, **control.about, ROUND_TRIPS: usual.as_json()}
    record = ModelRecord(
        model_id=evaluation_id,
        kind=EVALUATION,
        path=folder,
        config=asdict(config.evaluation),
        metrics=metrics,
        inputs=inputs,
        shards_version=version,
    )
    append_model(store, record)
    return EvaluationReport(evaluation_id, False, metrics, folder)


def _nets(world: WorldModel, clips: Sequence[HeldOutClip], settings: EvaluationConfig) -> list[FeatureNet | MissingNet]:
    """Return the networks on whose features fidelity is measured; each is tried before anything is computed."""
    height, width = clips[0].frames_THWC.shape[1:3]
    device = world.compute.device

    def own() -> FeatureNet:
        return own_features(world.tokenizer, world.tokenizer_id, device)

    return choose_nets(settings.feature_nets, (settings.fidelity_frames, height, width), device, own)
