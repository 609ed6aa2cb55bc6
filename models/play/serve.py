"""Serve the play page of a world.

lampworks play --root lampworks-data
"""

from __future__ import annotations

import sys

from models.play.key_hints import hints_of
from models.play.page import MAX_BODY, PAGE, play_app
from models.play.starts.held_out import start_frames
from models.play.starts.routes import UPLOADS
from models.runtime.compute import choose_compute, compile_played_frame, intra_op_threads
from models.world.load import load_world
from pipeline.job import Job
from pipeline.model_choice import models_in_use
from pipeline.serving import Address, Listener, RunServer


def serve_play(job: Job, address: Address, run: RunServer, model: str | None = None) -> None:
    """Serve the play page of a world until the server is interrupted.

    Args:
        job: its store holds the models and the start frames; progress, and the address to open, go to its callback or
            to standard error.
        address: where to serve.
        run: runs the server.
        model: id of the world, or the unique start of one; None takes the one that the configuration stands for.

    Raises:
        UserError: the address cannot be used, or there is no such world, or no start frame.
    """
    report = job.on_progress or _to_stderr
    with Listener(address) as listener, intra_op_threads():
        world = load_world(job.store, model or job.config, choose_compute(job.config.training))
        for note in models_in_use(job.store, job.config, model).notes:
            report(note)
        if job.config.training.compile:
            for network in (world.dynamics, world.tokenizer):
                compile_played_frame(network, world.compute.device)
            report("compiling: the first frames take about a minute")
        app = play_app(
            world,
            start_frames(job.store, job.config, world.model_id),
            job.config.play,
            hints=hints_of(job.store, job.config, world.model_id),
        )
        listener.serve(
            app,
            PAGE.read_text("utf-8"),
            run=run,
            on_ready=lambda url: report(f"play at {url} (Ctrl-C stops)"),
            max_body=MAX_BODY,
            uploads=UPLOADS,
        )


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
