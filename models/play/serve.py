"""Serve the play page of a world, from which the other worlds of the store can be played too.

lampworks play --root lampworks-data
lampworks play world.tar                   a packed world, without a store
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from models.play.packed.open import open_world
from models.play.page import MAX_BODY, PAGE, worlds_app
from models.play.starts.held_out import start_frames
from models.play.starts.routes import UPLOADS
from models.play.true_clip import true_clip
from models.play.worlds import PlayedWorld, Worlds, played_world
from models.runtime.compute import choose_compute, compile_played_frame, intra_op_threads
from models.uncertainty.situation_log import SituationLog
from models.world.load import load_world
from pipeline.config import PlayConfig
from pipeline.job import Job
from pipeline.model_choice import models_in_use
from pipeline.model_ids import WORLD
from pipeline.serving import Address, Listener, RunServer
from pipeline.storage.models_table import all_models
from pipeline.uncovered import Nearest, no_clips


def serve_play(
    job: Job, address: Address, run: RunServer, model: str | None = None, nearest: Nearest | None = None
) -> None:
    """Serve the play page of a world until the server is interrupted.

    Args:
        job: its store holds the models and the start frames; progress, and the address to open, go to its callback or
            to standard error.
        address: where to serve.
        run: runs the server.
        model: id of the world, or the unique start of one; None takes the one that the configuration stands for.
        nearest: finds the clips that look like a situation which the world could only guess.

    Raises:
        UserError: the address cannot be used, or there is no such world, or no start frame.
    """
    report = job.on_progress or _to_stderr
    with Listener(address) as listener, intra_op_threads():
        first = _played(job, model)
        for note in models_in_use(job.store, job.config, model).notes:
            report(note)
        if job.config.training.compile == "on":
            report("compiling: the first frames take about a minute")
        worlds = Worlds(first, _names(job), partial(_played, job))
        situations = SituationLog(job.store, job.config.play, nearest or no_clips, report=report)
        try:
            _serve(listener, worlds, job.config.play, run, report, situations)
        finally:
            situations.close()


def serve_packed(
    path: str | Path, address: Address, run: RunServer, report: Callable[[str], None] | None = None
) -> None:
    """Serve the play page of a packed world until the server is interrupted: no store is read or written.

    Args:
        path: its folder, or a tar of it.
        address: where to serve.
        run: runs the server.
        report: progress and the address to open; standard error by default.

    Raises:
        UserError: the address cannot be used, or it is no packed world, or a damaged one.
    """
    report = report or _to_stderr
    with Listener(address) as listener, intra_op_threads():
        opened = open_world(path)
        for note in opened.notes:
            report(note)
        doubt = opened.config.play.doubt
        played = played_world(opened.world, opened.starts, opened.metrics, opened.true_clip, doubt=doubt)
        _serve(listener, Worlds(played), opened.config.play, run, report)


def _serve(
    listener: Listener,
    worlds: Worlds,
    config: PlayConfig,
    run: RunServer,
    report: Callable[[str], None],
    situations: SituationLog | None = None,
) -> None:
    listener.serve(
        worlds_app(worlds, config, situations),
        PAGE.read_text("utf-8"),
        run=run,
        on_ready=lambda url: report(f"play at {url} (Ctrl-C stops)"),
        max_body=MAX_BODY,
        uploads=UPLOADS,
    )


def _played(job: Job, model: str | None) -> PlayedWorld:
    """Load a world with its starts and hints."""
    world = load_world(job.store, model or job.config, choose_compute(job.config.training))
    if job.config.training.compile == "on":
        for network in (world.dynamics, world.tokenizer):
            compile_played_frame(network, world.compute.device)
    evaluation = models_in_use(job.store, job.config, world.model_id).evaluation
    return played_world(
        world,
        start_frames(job.store, job.config, world.model_id),
        None if evaluation is None else evaluation.metrics,
        partial(true_clip, job.store),
        doubt=job.config.play.doubt,
    )


def _names(job: Job) -> dict[str, str]:
    """Return the ids of all worlds, each with its number of steps."""
    rows = [row for row in all_models(job.store) if row.kind == WORLD]
    return {row.model_id: f"{row.steps:,} steps" for row in rows}


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
