"""Delete what a killed pass left unfinished: blobs under a temporary name, scratch folders.

Raw files and clips are not looked through here, because there may be millions: each batch sweeps its own folders when
it runs again (`Blobs.sweep_unfinished`).
"""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.storage.home import Home
from pipeline.storage.owner import sweep_scratch, sweep_unfinished
from pipeline.storage.store import Store

_FOLDERS = ("shards", "tokens", "models", "labels", "reports", "takedowns")


def sweep_after_kill(store: Store, home: Home) -> int:
    """Delete the unfinished files of processes of this machine that are gone; return the number of files and folders.

    Args:
        store: in a folder; an object store shows no unfinished object.
        home: its scratch space, and the unfinished copy of its settings.
    """
    swept = sweep_unfinished(home.folder)
    swept += sweep_scratch(home.tmp)
    if store.is_local:
        for name in _FOLDERS:
            # `Path.rglob` would raise where another process deletes a folder meanwhile
            swept += sum(sweep_unfinished(Path(place)) for place, _, _ in os.walk(store.url(name)))
    return swept
