"""Take the steps of a planned run: from its last checkpoint or its start, with curves, pace and advice."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from models.registry import Curve
from models.runtime.compute import Compute, hold_memory
from models.training.average import AveragedTraining
from models.training.bad_steps import BadSteps
from models.training.data import ClipWindows
from models.training.event_files import event_files
from models.training.finite import what_to_change
from models.training.follow import Follower
from models.training.loop import OnStep, Trainable, run
from models.training.planned_run import PlannedRun
from models.training.preflight import say_pace
from models.training.report import Report
from models.training.restarts import read_restarts
from models.training.starting import begin, sentence
from models.training.tokenizer_training import TokenizerTraining
from models.training.tracker import MakeTracker, TrackedRun, Tracker
from models.training.world_training import WorldTraining
from pipeline.code_version import code_version
from pipeline.job import Job
from pipeline.progress import notify


def run_planned(
    job: Job,
    planned: PlannedRun,
    training: TokenizerTraining | WorldTraining,
    compute: Compute,
    on_step: OnStep | None,
    make_tracker: MakeTracker | None,
    report: Report | None,
    held: Callable[[], ClipWindows | None],
) -> tuple[Curve, dict[str, Any]]:
    """Train from the newest checkpoint; return the curve, and what the run was like (device, dtype, seconds, rates).

    `held` returns windows of held-out clips, which are measured on the way; None where there are none.
    """
    ranks = compute.ranks
    where = f"{compute.device}, {compute.threads} threads, {compute.reason}"
    if not ranks.alone:
        where = f"{ranks.count} processes, each {where}"
    follower = None
    if ranks.first:
        notify(f"{planned.kind}: {training.total_steps} steps on {where}", job.on_progress)
        follower = Follower(job, training, kind=planned.kind, run=planned.folder_name, held=held)
        on_step = say_pace(planned.kind, training.total_steps, follower.told(on_step), job.on_progress)
    planned.check_folder()
    # all have read which checkpoints are there before the first writes anything
    ranks.wait()
    if ranks.first:
        planned.describe(job.config)
    hold_memory()

    begun: list[int] = []

    def tracker(first_step: int) -> Tracker | None:
        begun.append(first_step)
        if report is not None:
            report.write(
                "run", kind=planned.kind, run=planned.folder_name, folder=planned.folder, step=first_step,
                steps=planned.steps,
            )  # fmt: skip
        run = TrackedRun(planned.folder_name, planned.kind, planned.settings, first_step, planned.steps)
        found = (make_tracker or event_files(job))(run)
        return found if follower is None else follower.tracked(found)

    bad_steps = BadSteps(job.config.training, training.optimizers())
    decay = job.config.training.ema_decay
    averaged = AveragedTraining(training, decay) if decay else None
    wall, cpu = time.perf_counter(), time.process_time()
    curve = run(
        averaged or training,
        planned.checkpoints,
        stage=planned.kind,
        checkpoint_every=job.config.training.checkpoint_every,
        on_progress=job.on_progress,
        on_step=on_step,
        advice=partial(what_to_change, job.config, planned.kind, planned.folder_name),
        make_tracker=tracker,
        begin=_begin(job, planned, averaged or training),
        bad_steps=bad_steps,
        ranks=ranks,
        follow=follower,
    )
    cpu_s = time.process_time() - cpu
    if averaged is not None:
        averaged.use()
    training.finish()
    restarts = read_restarts(planned.store, planned.folder)
    return curve, {
        **({"resumed_at_step": begun[0]} if begun and begun[0] else {}),
        **bad_steps.metrics(),
        "device": str(compute.device),
        "dtype": str(compute.dtype).removeprefix("torch."),
        "threads": compute.threads,
        **({"processes": ranks.count} if not ranks.alone else {}),
        **({"restarts": len(restarts)} if restarts else {}),
        "code": code_version(),
        "torch": torch.__version__,
        "wall_s": round(time.perf_counter() - wall, 1),
        "cpu_s": round(cpu_s, 1),
        **(follower.about(cpu_s) if follower is not None else {}),
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
