"""Jobs that run the driver inside Dagster: `full_pass` for its pages, `recurate` for the weekly schedule (off)."""

import dagster as dg
from pydantic import Field

from assets.graph.context import user_failure
from assets.graph.resources import Lampworks
from pipeline.inspect.audit_text import curation_lines
from pipeline.outside import shown_text


class PassConfig(dg.Config):
    """How far the driver goes."""

    train: bool = Field(
        default=False,
        description="Whether to train and evaluate the world model where it is out of date (minutes for the demo, "
        "hours to days for larger presets). Without it the pass ends at the training shards.",
    )
    report: bool = Field(default=True, description="Whether to write the HTML report at the end.")


@dg.op
def run_driver(context: dg.OpExecutionContext, config: PassConfig, lampworks: Lampworks) -> None:
    """Run the driver: search, due batches, global assets, scores, decision, shards; then training if asked."""
    from assets.graph.jobs import UP_TO_SHARDS
    from assets.passes.driver import PassOptions, full_pass
    from assets.passes.failures import PassError

    select = None if config.train else UP_TO_SHARDS
    with user_failure(lampworks):
        try:
            result = full_pass(
                lampworks.settings(),
                select,
                on_progress=lambda text: context.log.info(shown_text(text)),
                options=PassOptions(report=config.report),
                instance=context.instance,
                parent=context.run_id,
            )
        except PassError as exc:
            raise dg.Failure(shown_text(exc), allow_retries=False) from None
    context.log.info(f"{len(result.runs)} runs")
    for line in curation_lines(lampworks.settings().store).get("changes", ()):
        context.log.info(shown_text(line))


@dg.job(
    name="full_pass",
    description="The driver, as `lampworks run` runs it: search, then every due batch, then all that is out of date. "
    'Use it in place of "Materialize all", which does not see batches that its own search finds. Training is off '
    "unless the config says `train: true`.",
)
def full_pass_job() -> None:
    """Run the driver inside one op; the runs that it launches appear beside this one."""
    run_driver()


@dg.job(
    description="Search again and re-curate: every run of a full pass up to the training shards, and the report, which "
    "shows what entered the set and what left it. Trains no world; `lampworks recurate` does the same.",
    config=dg.RunConfig(ops={"run_driver": PassConfig(train=False)}),
)
def recurate() -> None:
    """Run the driver inside one op; the runs that it launches appear beside this one."""
    run_driver()


weekly_recuration = dg.ScheduleDefinition(
    name="weekly_recuration",
    job=recurate,
    cron_schedule="0 3 * * 1",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Mondays at 03:00: search again, download what is due, decide again. Off until you switch it on.",
)
