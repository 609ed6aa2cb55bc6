"""All that Dagster shows: the asset graph, and the schedule and the sensor that start runs of it.

Loads in a second and from any folder: torch, scikit-learn and yt-dlp are imported by the steps that need them, and
nothing is opened before an asset runs.

    dagster dev -w workspace.yaml
"""

import dagster as dg

from assets.automation.schedules import recurate, weekly_recuration
from assets.automation.sensors import due_batches_sensor
from assets.graph.definitions import graph

defs = dg.Definitions.merge(
    graph, dg.Definitions(jobs=[recurate], schedules=[weekly_recuration], sensors=[due_batches_sensor])
)
