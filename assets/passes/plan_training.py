"""Which models a pass would train, for its plan; nothing is started and nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assets.graph.jobs import JOBS
from assets.passes.due import is_due
from assets.passes.selection import resolve_selection
from assets.settings import Settings
from pipeline.errors import UserError
from pipeline.model_choice import is_trained, models_in_use
from pipeline.model_ids import TOKENIZER, WORLD, TrainedKind, steps_of
from pipeline.shards.read import current_shards
from pipeline.storage.models_table import ModelRecord

_BEFORE = (*JOBS["compare_clips"], *JOBS["label"], *JOBS["learn"], *JOBS["decide"])


@dataclass(frozen=True)
class TrainingPlan:
    """One model that a pass would train, or leave as it is."""

    kind: TrainedKind
    steps: int
    taken: int
    """Steps that a stopped run of it has taken: the training goes on from there."""
    trained: str
    """Id of the model of these settings and the present shards; "" where there is none."""
    may_change: bool
    """Whether the training shards may be others once the pass comes to it."""
    size: str
    """Parameters, steps, memory needed and there."""
    refusal: str
    """Why it cannot start, and what to set; "" where it can."""
    begins: str = ""
    """What `training.start_from` or `training.go_on` makes it begin with."""
    warm_ups: tuple[str, ...] = ()
    """Warm-ups that are longer than the training, and what to set instead."""


def plan_training(settings: Settings, select: Sequence[str] | None, *, fetches: bool) -> list[TrainingPlan]:
    """Return what a pass over the selected assets would train.

    Args:
        settings: root and configuration.
        select: as of `assets.passes.driver.full_pass`.
        fetches: whether the pass fetches or cuts videos before.
    """
    wanted = resolve_selection(select)
    if not {TOKENIZER, WORLD} & wanted:
        return []
    # torch takes a second to import
    from models.runtime.compute import choose_compute
    from models.training.preflight import size_of_training
    from models.training.schedules import long_warm_ups

    compute = choose_compute(settings.config.training)
    may_change = fetches or any(asset in wanted and is_due(asset, settings) for asset in _BEFORE)
    store, config = settings.store, settings.config
    used = models_in_use(store, config)
    shards = current_shards(store)
    below = used.tokenizer.model_id if used.tokenizer is not None else ""
    plans = []
    models: tuple[tuple[TrainedKind, ModelRecord | None], ...] = ((TOKENIZER, used.tokenizer), (WORLD, used.world))
    for kind, found in models:
        if kind not in wanted:
            continue
        steps = steps_of(kind, config)
        trained = found.model_id if found is not None and is_trained(store, config, kind) else ""
        taken, begins, refusal = (0, "", "") if trained else _begins(settings, kind, shards, below)
        size = size_of_training(config, kind, compute)
        refusal = refusal or size.patches.refusal or (size.refusal if config.training.check_memory else "")
        warm_ups = tuple(long_warm_ups(config, kind))
        plans.append(TrainingPlan(kind, steps, taken, trained, may_change, size.line, refusal, begins, warm_ups))
    return plans


def _begins(settings: Settings, kind: TrainedKind, shards: str | None, below: str) -> tuple[int, str, str]:
    """Return the steps that were taken before a training, what it begins with, and why it cannot begin with it."""
    from models.training.planned_run import plan_run
    from models.training.starting import check_steps, sentence, start_for

    store, config = settings.store, settings.config
    try:
        start = start_for(store, config, kind)
        planned = plan_run(store, config, kind, shards, tokenizer=below if kind == WORLD else "", start=start)
        saved = planned.checkpoints.steps()
        if saved or start is None:
            return (saved[-1] if saved else 0), "", ""
        check_steps(config, start)
    except UserError as exc:
        return 0, "", str(exc)
    return (start.step if start.how == "go_on" else 0), sentence(start, planned.changes, planned.steps), ""


def format_training(plans: Sequence[TrainingPlan]) -> list[str]:
    """Return the plan's lines about training."""
    return [line for plan in plans for line in _lines(plan)]


def _lines(plan: TrainingPlan) -> list[str]:
    if plan.trained and not plan.may_change:
        return [f"  {plan.kind}: trained already, {plan.trained} of {plan.steps:,} steps on the present shards"]
    lines = [f"  {plan.size}"]
    if plan.trained:
        lines.append(f"    only if the training shards change: {plan.trained} is trained on the present ones")
    if plan.begins:
        lines.append(f"    {plan.begins}")
    elif plan.taken and not plan.may_change:
        lines.append(f"    goes on at step {plan.taken:,}")
    lines += [f"    {sentence}" for sentence in plan.warm_ups]
    if plan.refusal:
        lines.append(f"    cannot start: {plan.refusal}")
    return lines
