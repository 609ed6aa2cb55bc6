"""The label economy of a root as it was last measured: one JSON file, which the report shows."""

from __future__ import annotations

import json
from typing import Literal, TypedDict, cast

from classifier.training.intervals import Interval
from classifier.training.metrics import AucMetrics, PairedMetrics
from pipeline.storage.damage import DamagedError
from pipeline.storage.json_blob import read_json
from pipeline.storage.store import Store

ECONOMY_KEY = "labels/economy.json"
FORMAT = 1
Order = Literal["random", "active"]
ORDERS: tuple[Order, ...] = ("random", "active")
_ADVICE = "Measure it again with `lampworks bench economy --save`."


class EconomyPoint(TypedDict):
    """How good the classifier is after some labels in one order."""

    order: Order
    labels: int
    auc: AucMetrics
    """Good (`classifier.good_rating` or more) against bad (2 or less)."""
    keep_precision: float | None
    """Share of good ones among the quarter of clips with the highest scores; ratings between count as not good."""
    keep_interval: Interval | None


class EconomyGain(TypedDict):
    """The AUC of the active order less that of the random one, after as many labels."""

    labels: int
    gain: PairedMetrics | None


class LabelEconomy(TypedDict):
    """What labels are worth on the rated clips of a root."""

    format: int
    candidate: str
    clips: int
    sources: int
    good_share: float
    """Share of good clips among all rated ones: the keep precision of a draw."""
    kept_share: float
    """Share of clips that are kept for `keep_precision`."""
    grouped_by: str
    """What no fold divides."""
    folds: int
    repeats: int
    points: list[EconomyPoint]
    """By order, then by number of labels; the last point of an order has all labels of a fold (`labels`: of the
    smallest one)."""
    gains: list[EconomyGain]


def save_economy(store: Store, economy: LabelEconomy) -> None:
    """Write the label economy for the report."""
    store.write_blob(ECONOMY_KEY, json.dumps(economy, indent=1).encode())


def load_economy(store: Store) -> LabelEconomy | None:
    """Return the label economy; None where none was measured, or only by another version.

    Raises:
        DamagedError: the file is not one.
    """
    if not store.exists(ECONOMY_KEY):
        return None
    found = read_json(store, ECONOMY_KEY, _ADVICE)
    if found.get("format") != FORMAT:
        return None
    if not LabelEconomy.__annotations__.keys() <= found.keys():
        raise DamagedError(f"{store.root}/{ECONOMY_KEY} is damaged: it holds no label economy. {_ADVICE}")
    return cast(LabelEconomy, found)
