"""The report's part on what labels are worth: AUC and keep precision against their number, in two orders."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from assets.report.charts import curves_chart
from classifier.economy.stored import ORDERS, EconomyPoint, LabelEconomy, load_economy
from pipeline.storage.damage import DamagedError
from pipeline.storage.store import Store


@dataclass(frozen=True)
class EconomyView:
    """What the report shows of the label economy."""

    note: str
    """Why there is no chart; empty where there is one."""
    economy: LabelEconomy | None = None
    auc_chart: Markup | None = None
    precision_chart: Markup | None = None
    gain: str = ""
    """AUC of the active order less that of the random one."""


def economy_view(store: Store) -> EconomyView | None:
    """Return what `lampworks bench economy --save` stored; None where it did not run."""
    try:
        economy = load_economy(store)
    except DamagedError as exc:
        return EconomyView(str(exc))
    if economy is None or not economy["points"]:
        return None
    if economy["points"][0]["auc"]["few"]:
        return EconomyView("Too few rated clips to tell what more of them would add.")
    return EconomyView("", economy, _auc_chart(economy["points"]), _precision_chart(economy["points"]), _gain(economy))


def _auc_chart(points: list[EconomyPoint]) -> Markup:
    lines: dict[str, list[tuple[float, float]]] = {name: [] for name in ORDERS}
    bands: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ORDERS}
    for point in points:
        found = point["auc"]
        if found["auc"] is not None:
            lines[point["order"]].append((point["labels"], found["auc"]))
        if found["interval"] is not None:
            bands[point["order"]].append((point["labels"], *found["interval"]))
    return curves_chart(lines, bands=bands, x_label="labels", log_x=True, label="AUC by number of labels")


def _precision_chart(points: list[EconomyPoint]) -> Markup:
    lines: dict[str, list[tuple[float, float]]] = {name: [] for name in ORDERS}
    bands: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ORDERS}
    for point in points:
        if point["keep_precision"] is not None:
            lines[point["order"]].append((point["labels"], point["keep_precision"]))
        if point["keep_interval"] is not None:
            bands[point["order"]].append((point["labels"], *point["keep_interval"]))
    return curves_chart(lines, bands=bands, x_label="labels", log_x=True, label="precision by number of labels")


def _gain(economy: LabelEconomy) -> str:
    known = [(one["labels"], one["gain"]) for one in economy["gains"] if one["gain"] is not None]
    if not known:
        return ""
    # in the middle of the labels: with few both are noise, and with all of them both have learned the same
    labels, gain = known[len(known) // 2]
    interval = "" if gain["interval"] is None else " [{:+.2f}, {:+.2f}]".format(*gain["interval"])
    return f"{gain['difference']:+.3f}{interval} after {labels} labels"
