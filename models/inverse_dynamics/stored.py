"""An action reader as two files: `inverse-dynamics.safetensors` (weights) and `inverse-dynamics.json` (what it is)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from models.inverse_dynamics.network import InverseDynamics
from models.inverse_dynamics.reader import ActionReader
from models.runtime.weights import WeightsError, load_states, pack, prefixed, unpack

WEIGHTS, ABOUT = "inverse-dynamics.safetensors", "inverse-dynamics.json"
_PREFIX = "inverse_dynamics"


def files_of(reader: ActionReader, about: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the two files by name; `about` says what the reader was trained on."""
    return {
        WEIGHTS: pack(prefixed(_PREFIX, reader.network.state_dict())),
        ABOUT: json.dumps({**about, "names": list(reader.names)}, indent=1, sort_keys=True).encode(),
    }


def reader_of(weights: bytes, about: bytes) -> ActionReader:
    """Return the reader of two files.

    Raises:
        WeightsError: they are damaged, or of a network of another shape.
    """
    try:
        names = tuple(str(name) for name in json.loads(about)["names"])
    except (ValueError, KeyError, TypeError) as exc:
        raise WeightsError(f"{ABOUT} is no description of an action reader ({exc})") from exc
    network = InverseDynamics(len(names))
    load_states({_PREFIX: network}, {}, unpack(weights))
    return ActionReader(network.eval(), names)
