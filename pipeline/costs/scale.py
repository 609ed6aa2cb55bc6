"""What a collection of many clips would take, computed from what the stages have cost so far.

    plan = plan_scale(stage_costs(store), scope_of(store, config), Inputs(clips=55_000_000))

Everything that is not measured is an input: prices, days, cores of a machine. A stage with too few batches to tell is
left out, and named. Stages over the whole store grow as measured by `lampworks bench growth` (`EXPONENTS`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.costs.booking import Scope
from pipeline.costs.stages import StageCost
from pipeline.errors import UserError
from pipeline.usage import NAMES, Usage

FIXED = frozenset({
    "label_queue", "quality_labels", "quality_classifier", "curation_audit", "video_tokenizer", "world_model",
    "world_evaluation", "playable_world", "curation_ablation", "study",
})  # fmt: skip
"""Stages whose work does not grow with the hours of video: they are not scaled, and not in a plan."""
EXPONENTS: Mapping[str, float] = {"near_duplicates": 1.1}
"""Processor time of a stage over the whole store grows as clips to the power of it; 1 where it is not named."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What is asked for, and what nobody can measure here."""

    clips: int = 55_000_000
    days: float = 30.0
    """In which it is to be done."""
    cores: int = 32
    """Of a machine."""
    busy: float = 0.7
    """Share of the time in which a core works: downloads wait, machines are restarted."""
    months: float = 3.0
    """For which the bytes stay in the store."""
    keep_raw: bool = True
    """Whether downloaded files stay beside the clips."""
    core_hour: float = 0.04
    """Price of an hour of one core."""
    gpu_hour: float = 2.5
    """Price of an hour of one GPU."""
    terabyte_month: float = 23.0
    """Price of keeping a terabyte for a month."""
    million_requests: float = 5.0
    """Price of a million requests to the store, as of the dearest kind (writes)."""
    terabyte_in: float = 0.0
    """Price of a terabyte that is downloaded."""


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """One stage at that size."""

    stage: str
    usage: Usage
    batches: int
    """That its figures are from."""


@dataclass(frozen=True, kw_only=True)
class ScalePlan:
    """The whole collection."""

    inputs: Inputs
    measured: Scope
    """What the figures are from."""
    hours: float
    """Hours of video that give so many clips."""
    stages: Sequence[StagePlan]
    left_out: Sequence[str]
    """Stages of which too little was measured."""
    machines: int
    gpus: int
    stored_bytes: int
    money: Mapping[str, float]
    """By what it is for."""

    @property
    def total(self) -> Usage:
        """The sum over the stages."""
        return sum((stage.usage for stage in self.stages), Usage())


def plan_scale(costs: Sequence[StageCost], measured: Scope, inputs: Inputs) -> ScalePlan:
    """Return what a number of clips would take.

    Args:
        costs: what the stages have cost.
        measured: the video and clips of the store that they are of.
        inputs: how many clips, and prices.

    Raises:
        UserError: no clip was cut yet, no stage has enough batches, or an input makes no sense.
    """
    _check(inputs)
    if not measured.clips:
        raise UserError("no clip was cut yet: nothing tells how many an hour of video gives. Run some batches.")
    grow = [cost for cost in costs if cost.stage not in FIXED]
    known = [cost for cost in grow if not cost.too_few]
    if not known:
        raise UserError(
            "no stage has enough batches to tell what others will cost (`lampworks status` shows how many): run more, "
            "or set source.batch_size lower."
        )
    hours = inputs.clips / measured.clips * measured.video_s / 3600
    stages = [StagePlan(stage=cost.stage, usage=_scaled(cost, hours), batches=cost.batches) for cost in known]
    total = sum((stage.usage for stage in stages), Usage())
    left_out = [cost.stage for cost in grow if cost.too_few]
    seconds = inputs.days * 86_400 * inputs.busy
    written = {stage.stage: stage.usage.bytes_written for stage in stages}
    kept = total.bytes_written - (0 if inputs.keep_raw else written.get("raw_videos", 0))
    return ScalePlan(
        inputs=inputs,
        measured=measured,
        hours=hours,
        stages=stages,
        left_out=left_out,
        machines=-int(-total.cpu_s // (seconds * inputs.cores)),
        gpus=-int(-total.gpu_s // seconds),
        stored_bytes=kept,
        money={
            "cores": total.cpu_s / 3600 / inputs.busy * inputs.core_hour,
            "GPUs": total.gpu_s / 3600 / inputs.busy * inputs.gpu_hour,
            "store": kept / 1e12 * inputs.months * inputs.terabyte_month,
            "requests": total.requests / 1e6 * inputs.million_requests,
            "download": total.bytes_downloaded / 1e12 * inputs.terabyte_in,
        },
    )


def _check(inputs: Inputs) -> None:
    for name in ("clips", "days", "cores", "busy"):
        if not getattr(inputs, name) > 0:
            raise UserError(f"--{name} = {getattr(inputs, name)}: must be above 0")
    if inputs.busy > 1:
        raise UserError(f"--busy = {inputs.busy}: must be at most 1, the whole time")
    for name in ("months", "core_hour", "gpu_hour", "terabyte_month", "million_requests", "terabyte_in"):
        if not getattr(inputs, name) >= 0:
            raise UserError(f"--{name.replace('_', '-')} = {getattr(inputs, name)}: must be at least 0")


def scale_lines(plan: ScalePlan) -> list[str]:
    """Return a plan as lines for a terminal: what is measured, what is an input, the stages, and the sums."""
    inputs, total, of = plan.inputs, plan.total, plan.measured
    lines = [
        f"plan of {inputs.clips:,} clips, from {of.clips:,} clips of {of.video_s / 3600:,.1f} h of video in "
        f"{of.batches:,} batches:",
        f"  {plan.hours:,.0f} hours of video ({of.clips / of.video_s * 3600:,.1f} clips an hour)",
        f"  {'stage':<20}{'CPU-hours':>12}{'GPU-hours':>12}{'TB read':>10}{'TB written':>12}{'TB loaded':>11}"
        f"{'requests':>15}  from",
    ]
    for stage in plan.stages:
        lines.append(f"  {stage.stage:<20}{_cells(stage.usage)}  {stage.batches:,} batches")
    lines.append(f"  {'all':<20}{_cells(total)}")
    if plan.left_out:
        lines.append(f"  not in it, too few batches to tell: {', '.join(plan.left_out)}")
    lines += [
        f"  machines  {plan.machines:,} of {inputs.cores} cores for {inputs.days:g} days, each core busy "
        f"{inputs.busy:.0%} of the time" + (f", and {plan.gpus:,} GPUs" if plan.gpus else ""),
        f"  store     {plan.stored_bytes / 1e12:,.1f} TB at most (all that is written stays"
        + ("" if inputs.keep_raw else ", without the downloaded files") + ")",
        "  money     " + ", ".join(f"{price:,.0f} for {what}" for what, price in plan.money.items())
        + f"; {sum(plan.money.values()):,.0f} in all",
        f"  prices    {inputs.core_hour:g} a core-hour, {inputs.gpu_hour:g} a GPU-hour, {inputs.terabyte_month:g} a "
        f"TB-month for {inputs.months:g} months, {inputs.million_requests:g} a million requests, "
        f"{inputs.terabyte_in:g} a TB downloaded: inputs, not measured",
    ]  # fmt: skip
    return lines


def _scaled(cost: StageCost, hours: float) -> Usage:
    """Return what a stage would use for so many hours of video."""
    found = {name: (cost.per_thousand_hours(name) or 0.0) * hours / 1000 for name in NAMES}
    # a stage over the whole store grows from the size at which it was measured
    growth = max(1.0, hours / cost.hours) ** (EXPONENTS.get(cost.stage, 1.0) - 1.0)
    found["cpu_s"] *= growth
    found["gpu_s"] *= growth
    return Usage(
        cpu_s=found["cpu_s"],
        gpu_s=found["gpu_s"],
        **{name: round(found[name]) for name in ("bytes_read", "bytes_written", "bytes_downloaded", "requests")},
    )


def _cells(usage: Usage) -> str:
    return (
        f" {usage.cpu_s / 3600:11,.0f} {usage.gpu_s / 3600:11,.0f} {usage.bytes_read / 1e12:9,.1f}"
        f" {usage.bytes_written / 1e12:11,.1f} {usage.bytes_downloaded / 1e12:10,.1f} {usage.requests:14,}"
    )
