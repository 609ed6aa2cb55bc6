"""Group `train`: the video tokenizer, then latent actions and dynamics together (the paper's two phases)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from assets.graph.checks import check_specs, verdict
from assets.graph.context import (
    Curves,
    Result,
    Work,
    booked_step,
    flat_metrics,
    line,
    materialized,
    picture,
    thinned,
    user_failure,
)
from assets.graph.dataset import training_shards
from assets.graph.ownership import OWNERS
from assets.graph.processes import train_in_processes, trains_in_processes
from assets.graph.resources import Lampworks
from assets.graph.training_settings import TrainingSettings
from pipeline.inspect.runs import lineage_lines
from pipeline.model_choice import is_trained, judged_by, pick_model
from pipeline.model_ids import TOKENIZER, WORLD, TrainedKind, steps_of
from pipeline.storage.models_table import ModelRecord, all_models


@dg.asset(
    owners=OWNERS,
    code_version="1",
    group_name="train",
    deps=[training_shards],
    kinds={"pytorch"},
    pool="training",
    check_specs=check_specs("video_tokenizer"),
)
def video_tokenizer(
    context: dg.AssetExecutionContext, lampworks: Lampworks, training: dg.ResourceParam[TrainingSettings]
) -> Result:
    """One published tokenizer: an ST-transformer VQ-VAE that turns 16 frames into discrete tokens and back.

    Its checkpoints resume: a run that was stopped goes on where it was, once it is materialized again. The curves of a
    running training are under Plots. Settings of the run: `resources.training` in the launchpad.
    """
    with _working(context, lampworks, training) as work:
        floor = work.config.tokenizer.min_psnr
        model = judged_by(work.store, _trained(work, TOKENIZER), floor)
        psnr = _number(model, "psnr")
        usage = _number(model, "codebook_usage")
        return _result(
            work,
            model,
            [
                verdict("video_tokenizer", "psnr_floor", psnr >= floor, _floor_text(psnr, floor)),
                verdict("video_tokenizer", "codebook_usage", usage >= 0.1, f"{usage:.0%} of the codes are used"),
            ],
        )


@dg.asset(
    owners=OWNERS,
    code_version="1",
    group_name="train",
    deps=[training_shards, video_tokenizer],
    kinds={"pytorch"},
    pool="training",
    check_specs=check_specs("world_model"),
)
def world_model(
    context: dg.AssetExecutionContext, lampworks: Lampworks, training: dg.ResourceParam[TrainingSettings]
) -> Result:
    """One published world: a latent action model of 8 codes and a MaskGIT dynamics, trained together.

    The tokenizer is frozen; latent actions learn from pixels by their own loss and reach the dynamics through a
    stop-gradient. How well keys control the world is measured by `world_evaluation` on held-out sources.
    """
    with _working(context, lampworks, training) as work:
        model = _trained(work, WORLD)
        bad = [name for name, value in _numbers(model.metrics).items() if not math.isfinite(value)]
        codes = _number(model, "codes_used")
        return _result(
            work,
            model,
            [
                verdict(
                    "world_model",
                    "finite",
                    not bad,
                    f"not finite: {', '.join(bad)}" if bad else "all metrics finite",
                ),
                verdict("world_model", "control", codes > 1, f"{codes:.0f} latent actions are in use"),
            ],
        )


@contextmanager
def _working(context: dg.AssetExecutionContext, lampworks: Lampworks, training: TrainingSettings) -> Iterator[Work]:
    """Yield the step's Work with the launchpad's settings over those of the root."""
    with user_failure(lampworks), booked_step(context, lampworks.settings()):
        on_progress = thinned(context.log.info)
        yield Work(context, training.applied(lampworks.settings(), on_progress).job(on_progress))


def _trained(work: Work, kind: TrainedKind) -> ModelRecord:
    """Train and publish a model, here or in processes of its own; return its row."""
    curves = Curves(work.context, steps_of(kind, work.config))
    if trains_in_processes(work.config) and not is_trained(work.store, work.config, kind):
        model_id = train_in_processes(work, kind, curves)
    else:
        from models.training.train import train_tokenizer, train_world_model

        train = train_tokenizer if kind == TOKENIZER else train_world_model
        model_id = train(work.job, on_step=curves).model_id
    return pick_model(all_models(work.store), model_id)


def _result(work: Work, model: ModelRecord, checks: Sequence[dg.AssetCheckResult]) -> Result:
    return materialized(
        1,
        model.model_id,
        checks,
        {
            "model_id": model.model_id,
            "parameters": model.parameters,
            "steps": model.steps,
            "shards": model.shards_version,
            "lineage": "; ".join(lineage_lines(model.inputs.get("lineage", []))) or None,
            "samples left out": _left_out(model) or None,
            **flat_metrics(model.metrics),
            **_curves(work, model),
            "drawn on the way": _drawn(work, model),
            "path": dg.MetadataValue.path(work.store.url(model.path)),
        },
    )


def _left_out(model: ModelRecord) -> str:
    return "; ".join(f"{clip_id}: {reason}" for clip_id, reason in model.inputs.get("bad_samples", {}).items())


def _curves(work: Work, model: ModelRecord) -> dict[str, Any]:
    from assets.report.reads import curve

    return {
        f"curve {name}": line([value for _, value in points], name) for name, points in curve(work.store, model).items()
    }


def _drawn(work: Work, model: ModelRecord) -> dg.MetadataValue[Any] | None:
    """Return a link to the last picture that the training drew on its way."""
    from assets.report.reads import run_picture

    found = run_picture(work.store, model.kind, str(model.inputs.get("run")), model.steps or 0)
    return picture(work.store, found.key if found else None)


def _numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found.update(_numbers(value, f"{prefix}{name}."))
        elif isinstance(value, int | float):
            found[f"{prefix}{name}"] = float(value)
    return found


def _number(model: ModelRecord, name: str) -> float:
    value = model.metrics.get(name)
    return float(value) if isinstance(value, int | float) else float("nan")


def _floor_text(psnr: float, floor: float) -> str:
    """Return a tokenizer's PSNR beside its floor (dB), and below it what can be changed."""
    text = f"PSNR {psnr:.2f} dB, floor {floor} dB"
    way = "train longer (tokenizer.steps: the run is extended), or lower the floor (tokenizer.min_psnr: trains nothing)"
    return text if psnr >= floor else f"{text}: {way}"
