"""Delete what a killed pass left unfinished: blobs under a temporary name, scratch folders.

Raw files and clips are not looked through here, because there may be millions: each batch sweeps its own folders when
it runs again (`Blobs.sweep_unfinished`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.storage.home import Home
from pipeline.storage.owner import dead_scratch_folders, sweep_unfinished
from pipeline.storage.store import Store

_FOLDERS = ("shards", "tokens", "models", "labels", "reports", "takedowns")


def sweep_after_kill(store: Store, home: Home) -> int:
    """Delete the unfinished files of processes of this machine that are gone; return the number of files and folders.

    Args:
        store: in a folder; an object store shows no unfinished object.
        home: its scratch space, and the unfinished copy of its settings.
    """
    swept = sweep_unfinished(home.folder)
    for leftover in dead_scratch_folders(home.tmp):
        shutil.rmtree(leftover, ignore_errors=True)
        swept += 1
    if store.is_local:
        for name in _FOLDERS:
            folder = Path(store.url(name))
            swept += sum(map(sweep_unfinished, (folder, *(path for path in folder.rglob("*") if path.is_dir()))))
    return swept
