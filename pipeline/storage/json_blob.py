"""Read a blob that is a JSON object, with an error that names it where it is not."""

from __future__ import annotations

import json
from typing import Any

from pipeline.storage.damage import DamagedError
from pipeline.storage.store import Store


def read_json(store: Store, key: str, advice: str) -> dict[str, Any]:
    """Return the object that a blob holds.

    Args:
        store: the store.
        key: of the blob.
        advice: a sentence that says what to do where it is damaged.

    Raises:
        DamagedError: the blob is not there, or is no JSON object.
    """
    try:
        found = json.loads(store.read_blob(key))
    except FileNotFoundError as exc:
        raise DamagedError(f"{store.root}/{key} is not there. {advice}") from exc
    except (ValueError, RecursionError) as exc:
        raise DamagedError(f"{store.root}/{key} is damaged: it is no JSON. {advice}") from exc
    if not isinstance(found, dict):
        raise DamagedError(f"{store.root}/{key} is damaged: it is no JSON object. {advice}")
    return found
