"""The weekly re-curation: off until someone switches it on in the UI."""

import dagster as dg

from assets.graph.context import user_failure
from assets.graph.resources import Lampworks


@dg.op
def full_pass_without_training(context: dg.OpExecutionContext, lampworks: Lampworks) -> None:
    """Start the driver: search, due batches, global assets, scores, decision and shards. Training never starts here."""
    from assets.graph.jobs import JOBS
    from assets.passes.driver import PassOptions, full_pass
    from assets.passes.failures import PassError

    trained = {asset for job in ("train_world_model", "evaluate", "ablate") for asset in JOBS[job]}
    select = [asset for assets in JOBS.values() for asset in assets if asset not in trained]
    with user_failure(lampworks):
        try:
            result = full_pass(
                lampworks.settings(),
                select,
                on_progress=context.log.info,
                options=PassOptions(report=False),
                instance=context.instance,
            )
        except PassError as exc:
            raise dg.Failure(str(exc), allow_retries=False) from None
    context.log.info(f"{len(result.runs)} runs")


@dg.job(description="Search again and re-curate: every run of a full pass up to the training shards.")
def recurate() -> None:
    """Run the driver inside one op; the runs that it orders appear beside this one."""
    full_pass_without_training()


weekly_recuration = dg.ScheduleDefinition(
    name="weekly_recuration",
    job=recurate,
    cron_schedule="0 3 * * 1",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Mondays at 03:00: search again, fetch what is due, decide anew. Off until you switch it on.",
)
