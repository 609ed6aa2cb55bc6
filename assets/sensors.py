"""The sensor that asks for due batches: new ones, and those with a retry whose time has come. Off by default."""

from datetime import UTC, datetime

import dagster as dg

from assets.partitions import VIDEO_BATCH
from assets.resources import Lampworks


@dg.sensor(
    job_name="collect_batch",
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Requests `collect_batch` for every batch that has something to download or to cut.",
)
def due_batches_sensor(context: dg.SensorEvaluationContext, lampworks: Lampworks) -> dg.SensorResult:
    """Request one run per due batch; the run key changes with every attempt, so a retry is a new request."""
    from assets.due import collect_due

    settings = lampworks.settings()
    due = collect_due(settings.store, settings.config, datetime.now(UTC))
    known = set(context.instance.get_dynamic_partitions("video_batch"))
    new = [batch for batch in due if batch not in known]
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=f"{batch}:{state}", partition_key=batch) for batch, state in due.items()],
        dynamic_partitions_requests=[VIDEO_BATCH.build_add_request(new)] if new else [],
        skip_reason=None if due else "no batch is due",
    )
