"""The receipt of a takedown: what was deleted, what had seen it, and what only a person can reach.

It is stored as `takedowns/<takedown_id>.json` and names nothing that was taken down: neither id nor title nor address.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from pipeline.storage.store import Store
from pipeline.takedown.seen import Models, SeenBy

FOLDER = "takedowns"


@dataclass
class Receipt:
    """What one takedown did; a run that goes on with one that was killed adds to it."""

    takedown_id: str
    kind: str
    requested_at: str
    finished: bool = False
    """Whether everything that this program can reach is gone."""
    videos: int = 0
    """Videos of which there were rows."""
    rows: dict[str, int] = field(default_factory=dict)
    """Table -> rows deleted."""
    rows_changed: int = 0
    """Rows about other videos from which a name was taken out."""
    blobs: dict[str, int] = field(default_factory=dict)
    """Folder of the root -> blobs deleted."""
    bytes: int = 0
    """Of the deleted blobs."""
    samples: int = 0
    """Samples taken out of training shards."""
    token_clips: int = 0
    """Clips taken out of token shards."""
    shards_before: str | None = None
    """The version of the training shards that was published."""
    shards_after: str | None = None
    tars_rewritten: list[str] = field(default_factory=list)
    """Tars that were replaced by a next generation, by the new keys."""
    shard_versions: dict[str, list[str]] = field(default_factory=dict)
    """Version of the shards that held a clip -> splits."""
    label_events: int = 0
    """Events deleted from the labelling journal of this home."""
    home_files: int = 0
    """Files of the home from which names were taken out."""
    recordings: int = 0
    """Files of the embedded source's recordings that were deleted."""
    documents: int = 0
    """JSON documents of models and of the queue from which clips were taken out."""
    pages: list[str] = field(default_factory=list)
    """Pages and sheets that were deleted because they showed or named it."""
    packed: list[str] = field(default_factory=list)
    """Folders of packed worlds that were deleted because they showed or named it."""
    models: list[SeenBy] = field(default_factory=list)
    """Models that had seen it."""
    unfinished_runs: list[str] = field(default_factory=list)
    """Folders of checkpoints of unfinished trainings that had seen it."""
    last_unseen: dict[str, str] = field(default_factory=dict)
    """Kind of model -> the newest that had not seen it."""
    left: list[str] = field(default_factory=list)
    """Places that still name it, which another run of the same command removes, or a person."""
    out_of_reach: list[str] = field(default_factory=list)
    """Sentences on what this program cannot reach."""

    def add_models(self, found: Models) -> None:
        """Add what had seen it; what an earlier, killed run found stays, because its evidence may be gone."""
        known = {one.model_id for one in self.models}
        self.models += [one for one in found.seen if one.model_id not in known]
        self.unfinished_runs = sorted({*self.unfinished_runs, *found.unfinished})
        if not known:
            self.last_unseen = dict(found.last_unseen)

    def to_json(self) -> dict[str, Any]:
        """Return it as the blob and `--json` have it."""
        return dataclasses.asdict(self)


def receipt_key(takedown_id: str) -> str:
    """Return the blob key of a takedown's receipt."""
    return f"{FOLDER}/{takedown_id}.json"


def write_receipt(store: Store, receipt: Receipt) -> None:
    """Write a receipt in place of the one before."""
    data = json.dumps(receipt.to_json(), indent=1, sort_keys=True).encode()
    store.write_blob(receipt_key(receipt.takedown_id), data)


def read_receipt(store: Store, takedown_id: str) -> Receipt | None:
    """Return the receipt of a takedown; None where it is not there, or damaged."""
    try:
        found = json.loads(store.read_blob(receipt_key(takedown_id)))
        models = [SeenBy(**one) for one in found.pop("models")]
        return Receipt(**found, models=models)
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def unfinished_receipts(store: Store) -> list[Receipt]:
    """Return the receipts of takedowns that were killed, or could not remove everything."""
    ids = [key.removeprefix(f"{FOLDER}/").removesuffix(".json") for key in store.list_blobs(FOLDER)]
    found = (read_receipt(store, takedown_id) for takedown_id in ids)
    return [receipt for receipt in found if receipt is not None and not receipt.finished]
