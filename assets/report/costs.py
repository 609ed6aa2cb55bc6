"""The report's page of costs: what each stage has used per thousand hours of video.

A page of its own, because its figures change with every run, and the report does not.
"""

from __future__ import annotations

from importlib.resources import files

from markupsafe import Markup

from pipeline.costs.stages import FEW_BATCHES, FEW_HOURS, stage_costs
from pipeline.html import template
from pipeline.storage.store import Store

COSTS = "costs.html"


def write_costs(store: Store, folder: str) -> str:
    """Write the page into a folder of the store and return its name; "" where nothing is booked."""
    costs = stage_costs(store)
    if not costs:
        return ""
    page = template("assets.report", COSTS).render(
        style=Markup(files("assets.report").joinpath("static", "report.css").read_text("utf-8")),
        costs=costs,
        few_batches=FEW_BATCHES,
        few_hours=FEW_HOURS,
    )
    data = page.encode()
    key = f"{folder}/{COSTS}"
    if not store.exists(key) or store.read_blob(key) != data:
        store.write_blob(key, data)
    return COSTS
