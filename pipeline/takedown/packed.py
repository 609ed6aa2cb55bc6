"""Delete the packed worlds of a store that show or name videos; the next `lampworks run` packs them again.

A packed world is sealed by the hashes of its manifest, so nothing is taken out of one: it goes as a whole. Its weights
stay where the models are (`pipeline.takedown.seen` says which had seen the videos).
"""

from __future__ import annotations

from pipeline.model_ids import PLAYABLE
from pipeline.storage.models_table import sound_models
from pipeline.storage.store import Store
from pipeline.takedown.mentions import Mentions

FOLDER = f"models/{PLAYABLE}"
_DESCRIBES = "/play.json"


def delete_packed(store: Store, mentions: Mentions) -> list[str]:
    """Delete the packed worlds that show or name the videos, with their rows; return the keys of their folders."""
    stale = packed_with(store, mentions)
    for folder in stale:
        # what describes a world goes last: a takedown that is killed finds the rest by it
        for key in sorted(
            store.list_blobs(folder), key=lambda key: (key.endswith(".json"), key.endswith(_DESCRIBES), key)
        ):
            store.delete(key)
    gone = [row.model_id for row in sound_models(store)[0] if _is_gone(store, row.kind, row.path)]
    if gone:
        store.delete_rows("models", "model_id", gone)
    return stale


def packed_with(store: Store, mentions: Mentions) -> list[str]:
    """Return the folders of packed worlds that show or name the videos."""
    folders: dict[str, list[str]] = {}
    for key in store.list_blobs(FOLDER):
        folders.setdefault("/".join(key.split("/")[:3]), []).append(key)
    return sorted(folder for folder, keys in folders.items() if _is_stale(store, folder, keys, mentions))


def _is_stale(store: Store, folder: str, keys: list[str], mentions: Mentions) -> bool:
    # what nothing describes may show any video
    if f"{folder}{_DESCRIBES}" not in keys and any(not key.endswith(".json") for key in keys):
        return True
    texts = (store.read_blob(key).decode("utf-8", "replace") for key in keys if key.endswith(".json"))
    return any(mentions.in_text(text, titles=True) for text in texts)


def _is_gone(store: Store, kind: str, path: str) -> bool:
    """Tell whether a row is of a packed world whose folder is empty."""
    return kind == PLAYABLE and path.startswith(f"{FOLDER}/") and not store.list_blobs(path)
