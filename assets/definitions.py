"""All that Dagster shows: 15 assets in 7 groups, their checks, jobs, schedule and sensor.

Loads in a second and from any folder: torch, scikit-learn and yt-dlp are imported by the steps that need them, and
nothing is opened before an asset runs.

    dagster dev -w workspace.yaml
"""

import dagster as dg

from assets.automation.schedules import recurate, weekly_recuration
from assets.automation.sensors import due_batches_sensor
from assets.graph import clips, collect, curate, dataset, evaluate, label, train
from assets.graph.jobs import jobs
from assets.graph.resources import Lampworks

defs = dg.Definitions(
    assets=dg.load_assets_from_modules([collect, clips, label, curate, dataset, train, evaluate]),
    jobs=[*jobs, recurate],
    schedules=[weekly_recuration],
    sensors=[due_batches_sensor],
    resources={"lampworks": Lampworks()},
    # a step in a process of its own costs 1.3-2.8 s of CPU, in this one 0.06 s; the engine fans out inside a step
    executor=dg.in_process_executor,
)
