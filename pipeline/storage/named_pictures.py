"""A picture or page of clips, and the JSON file beside it that names what it shows, so that a takedown finds it.

The names are written first. A picture that is replaced is deleted before: a process that is killed between the two
leaves names without a picture, which is drawn again, and never the old picture beside the names of the new one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.storage.store import Store


def replace_picture(store: Store, key: str, data: bytes, about_key: str, about: Mapping[str, Any]) -> None:
    """Write a picture or page and what it shows.

    Args:
        store: the store.
        key: of the picture or page.
        data: its bytes.
        about_key: of the JSON file.
        about: what the JSON file says.
    """
    store.delete(key)
    store.write_blob(about_key, json.dumps(about, indent=1, sort_keys=True).encode())
    store.write_blob(key, data)
