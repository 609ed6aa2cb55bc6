"""The asset graph: 19 assets in 8 groups, their checks, jobs and resources, without what starts runs by itself.

The driver launches its runs from here; `assets.definitions` adds the schedule and the sensor, which start the driver.
"""

import dagster as dg

from assets.graph import audit, clips, collect, curate, dataset, embeddings, evaluate, label, on_request, tokens, train
from assets.graph.code_links import linked_to_source
from assets.graph.jobs import jobs
from assets.graph.resources import CHECKOUT, Lampworks, resource_of
from assets.graph.training_settings import training_settings
from assets.settings import Settings

_MODULES = [collect, clips, embeddings, label, curate, audit, dataset, train, tokens, evaluate, on_request]
_ASSETS = linked_to_source(
    [asset for asset in dg.load_assets_from_modules(_MODULES) if isinstance(asset, dg.AssetsDefinition)], CHECKOUT
)


@dg.io_manager(config_schema={})
def _values() -> dg.InMemoryIOManager:
    """Return the place of values that steps hand on: memory, because they keep their results in the root themselves.

    Dagster's own writes to a folder that a run config may choose.
    """
    return dg.InMemoryIOManager()


def graph_with(lampworks: Lampworks | dg.ResourceDefinition) -> dg.Definitions:
    """Return the graph with its resource bound: Dagster allows no other one for a run of some of a job's assets."""
    return dg.Definitions(
        assets=_ASSETS,
        jobs=jobs,
        resources={"lampworks": lampworks, "training": training_settings, "io_manager": _values},
        # a step in a process of its own costs 1.3-2.8 s of CPU, in this one 0.06 s; the engine fans out inside a step
        executor=dg.in_process_executor,
    )


def graph_of(settings: Settings) -> dg.Definitions:
    """Return the graph for runs in this process with these settings; neither environment nor file is read again."""
    return graph_with(resource_of(settings))


graph = graph_with(Lampworks())
