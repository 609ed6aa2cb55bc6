"""The asset graph: 15 assets in 7 groups, their checks, jobs and resources, without what starts runs by itself.

The driver launches its runs from here; `assets.definitions` adds the schedule and the sensor, which start the driver.
"""

import dagster as dg

from assets.graph import clips, collect, curate, dataset, evaluate, label, train
from assets.graph.jobs import jobs
from assets.graph.resources import Lampworks

graph = dg.Definitions(
    assets=dg.load_assets_from_modules([collect, clips, label, curate, dataset, train, evaluate]),
    jobs=jobs,
    resources={"lampworks": Lampworks()},
    # a step in a process of its own costs 1.3-2.8 s of CPU, in this one 0.06 s; the engine fans out inside a step
    executor=dg.in_process_executor,
)
