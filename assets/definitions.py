"""All that Dagster shows: the asset graph, and the schedule and the sensor that start runs of it.

Loads in a second and from any folder: torch, scikit-learn and yt-dlp are imported by the steps that need them, and
nothing is opened before an asset runs.

    dagster dev -w workspace.yaml
"""

import dagster as dg

from assets.automation.schedules import full_pass_job, recurate, weekly_recuration
from assets.automation.sensors import due_batches_sensor
from assets.graph import definitions as graph_definitions
from assets.graph.resources import how_to_open_a_root
from assets.logs import json_wanted, set_up_logging

if json_wanted(False):  # a deployment: what our own modules log is printed by the process of a run
    set_up_logging(as_json=True)
_ADVICE = how_to_open_a_root()
if _ADVICE:
    dg.get_dagster_logger("lampworks").warning(_ADVICE)

# `dg` takes one Definitions at module scope: the graph's own stays in its module
defs = dg.Definitions.merge(
    graph_definitions.graph,
    dg.Definitions(jobs=[full_pass_job, recurate], schedules=[weekly_recuration], sensors=[due_batches_sensor]),
)
