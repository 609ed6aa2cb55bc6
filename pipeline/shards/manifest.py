"""The manifest of a set: its tars, indexes and data card with their hashes, for readers without Delta.

shards/<version>/card.md   card.json   manifest.json (last)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.config import Config
from pipeline.shards.card import Facts
from pipeline.shards.card_text import card_text
from pipeline.shards.plan import FORMAT
from pipeline.shards.read import manifest_key
from pipeline.storage.store import Store

LISTED = ("split", "path", "samples", "bytes", "sha256", "index", "index_sha256")
"""Columns of `shards` that the manifest repeats."""
LISTED_WITH_ACTIONS = ("actions", "actions_sha256")
"""The same, for tars beside which true actions lie."""
CARDS = ("card.md", "card.json")


def card_keys(version: str) -> list[str]:
    """Return the blob keys of a set's data card: Markdown, then JSON."""
    return [f"shards/{version}/{name}" for name in CARDS]


def write_manifest(
    store: Store, config: Config, version: str, spec: str, rows: Sequence[Mapping[str, Any]], card: Facts
) -> None:
    """Write the data card of a set and then its manifest.

    Args:
        store: the store.
        config: of the set.
        version: of the set.
        spec: its clip_spec.
        rows: of `shards`; their tars and indexes are there.
        card: what `card_facts` returned.
    """
    texts = (card_text(card).encode(), json.dumps(card, sort_keys=True, indent=1).encode())
    cards = []
    for key, data in zip(card_keys(version), texts, strict=True):
        store.write_blob(key, data)
        cards.append({"path": key, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    manifest = {
        "version": version,
        "format": FORMAT,
        "clip_spec": spec,
        "samples_per_shard": config.shards.samples_per_shard,
        "seed": config.shards.seed,
        "cards": cards,
        "shards": [listed(row) for row in rows],
    }
    store.write_blob(manifest_key(version), json.dumps(manifest, sort_keys=True, indent=1).encode())


def listed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the manifest says of a tar, by its row of `shards`."""
    names = (*LISTED, *LISTED_WITH_ACTIONS) if row.get("actions") else LISTED
    return {name: row[name] for name in names}


def delete_other_cards(store: Store, version: str) -> list[str]:
    """Delete the data cards of all versions but one, and return their keys: a card may name what was taken down."""
    mine = set(card_keys(version))
    others = [key for key in store.list_blobs("shards") if key.endswith(tuple(f"/{name}" for name in CARDS))]
    for key in (gone := [key for key in others if key not in mine]):
        store.delete(key)
    return gone
