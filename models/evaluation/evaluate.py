"""Evaluate the newest world model on held-out sources, and publish metrics and pictures once per input.

Inputs are the `val` shards, the newest world model and the evaluation's settings. The output is one row of `models`
of kind `world_evaluation`, and a folder with the files of `models.evaluation.picture_files`.

On a laptop: `evaluate(Job(Store("lampworks-data"), preset("demo"), home))`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from models.evaluation.cpu_parallel_world import CpuParallelWorld
from models.evaluation.evaluation_report import EvaluationReport
from models.evaluation.held_out import held_out_clips, shards_version, training_frames
from models.evaluation.measure import measure_world
from models.evaluation.picture_files import picture_files
from models.registry import WORLD, folder_of
from models.runtime.compute import choose_compute, intra_op_threads
from models.runtime.cpu_parallel import CpuParallel
from models.world.load import load_world
from pipeline.config import Config, fingerprint
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.shards.read import current_shards
from pipeline.storage.models_table import ModelRecord, append_model, newest_model
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

KIND = "world_evaluation"
_METHOD = 1  # increase when a metric changes its meaning: older evaluations are then no longer current


def evaluation_is_current(store: Store, config: Config) -> bool:
    """Tell whether the newest evaluation is of the current world model, shards and settings."""
    newest, inputs = newest_model(store, KIND), _inputs(store, config)
    return newest is not None and inputs is not None and newest.model_id == fingerprint(inputs)


def evaluate(job: Job) -> EvaluationReport:
    """Measure the newest world model on held-out sources, and publish metrics and pictures.

    Does nothing where the newest evaluation is current. True actions of the embedded source are read from the job's
    home.

    Raises:
        UserError: there is no world model, or no held-out clip.
    """
    store, config = job.store, job.config
    version = shards_version(store)
    inputs = _inputs(store, config)
    if inputs is None:
        raise UserError(f"{store.root} has no world model yet: materialize world_model first (`lampworks run`).")
    evaluation_id = fingerprint(inputs)
    folder = folder_of(KIND, evaluation_id)
    newest = newest_model(store, KIND)
    if newest is not None and newest.model_id == evaluation_id:
        return EvaluationReport(evaluation_id, True, newest.metrics, folder)
    with intra_op_threads():
        compute = choose_compute(config.training)
        world = CpuParallelWorld(load_world(store, inputs["world_model"], compute), CpuParallel(compute))
        clips = held_out_clips(store, config, job.home)
        if not clips:
            raise UserError(
                "no source is held out: the val shards are empty. Raise split.val_share, or add or keep more videos."
            )
        measurement = measure_world(world, clips, training_frames(store), config, on_progress=job.on_progress)
        files = picture_files(world, clips, measurement, config.evaluation)
    # a takedown may have arrived while this was running: none of its frames may be published
    gone = taken_down(store).hidden_videos(store)
    if any(clip.video_id in gone for clip in clips):
        return evaluate(job)
    for name, data in files.items():
        store.write_blob(f"{folder}/{name}", data)
    metrics = measurement.as_json()
    record = ModelRecord(
        model_id=evaluation_id,
        kind=KIND,
        path=folder,
        config=asdict(config.evaluation),
        metrics=metrics,
        inputs=inputs,
        shards_version=version,
    )
    append_model(store, record)
    return EvaluationReport(evaluation_id, False, metrics, folder)


def _inputs(store: Store, config: Config) -> dict[str, Any] | None:
    """Return everything that an evaluation depends on; None without a world model."""
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
