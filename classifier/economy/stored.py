"""The label economy of a root as it was last measured: one JSON file, which the report shows."""

from __future__ import annotations

import json
from typing import cast

from classifier.economy.measure import FORMAT, LabelEconomy
from pipeline.storage.damage import DamagedError
from pipeline.storage.json_blob import read_json
from pipeline.storage.store import Store

ECONOMY_KEY = "labels/economy.json"
_ADVICE = "Measure it again with `lampworks bench economy --save`."


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
