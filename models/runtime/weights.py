"""Named tensors as one safetensors file that says when it is damaged, and networks that load exactly what they hold.

A file carries a checksum of its tensors: cut short or changed by a byte it is refused, never half believed. A network
takes tensors of its own names, shapes and dtypes, all of them and no others: a file of other settings would
otherwise leave parts of it at random.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

_CHECKSUM, _NAMED = "sha256", 3


class WeightsError(ValueError):
    """What is wrong with a file of tensors; who loads it adds which file, and what to do."""


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with `prefix.` before each name."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def part_of(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what `prefixed` was given."""
    return {name[len(prefix) + 1 :]: t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors as a safetensors file with their checksum."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(plain, {_CHECKSUM: _checksum(plain)})


def unpack(data: bytes) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file; one without a checksum is taken as it is.

    Raises:
        WeightsError: it is cut short, no safetensors file, or its tensors are not those that were written.
    """
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as exc:
        raise WeightsError(f"the file of {len(data)} bytes is damaged or cut short ({exc})") from exc
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    checksum = header.get("__metadata__", {}).get(_CHECKSUM)
    if checksum is not None and checksum != _checksum(tensors):
        raise WeightsError("the file is damaged (its tensors do not give its checksum)")
    return tensors


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {kind_of(tensor)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class Loads(Protocol):
    """An optimizer, as far as its state is concerned."""

    def kinds(self, tensors: Mapping[str, Tensor]) -> dict[str, str]:
        """Return name and kind of the state that belongs to these tensors."""

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the tensors over."""


def load_states(networks: Mapping[str, nn.Module], optimizers: Mapping[str, Loads], tensors: dict[str, Tensor]) -> None:
    """Load networks and optimizers from tensors under their names.

    Raises:
        WeightsError: tensors are missing, unexpected, or of another shape or dtype; nothing has changed then.
    """
    expected: dict[str, str] = {}
    for name, network in networks.items():
        expected |= {f"{name}.{key}": kind_of(tensor) for key, tensor in network.state_dict().items()}
    for name, optimizer in optimizers.items():
        expected |= {f"{name}.{key}": kind for key, kind in optimizer.kinds(part_of(name, tensors)).items()}
    _check_fit(expected, tensors)
    for name, network in networks.items():
        network.load_state_dict(part_of(name, tensors))
    for name, optimizer in optimizers.items():
        optimizer.load(part_of(name, tensors))


def _check_fit(expected: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
    wrong = [f"{name} is missing" for name in expected if name not in tensors]
    wrong += [f"{name} is unexpected" for name in tensors if name not in expected]
    found = {name: kind_of(tensor) for name, tensor in tensors.items()}
    wrong += [
        f"{name} is {found[name]} instead of {kind}" for name, kind in expected.items() if found.get(name, kind) != kind
    ]
    if wrong:
        rest = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise WeightsError(f"its tensors do not fit the networks of its settings: {', '.join(wrong[:_NAMED])}{rest}")


def kind_of(tensor: Tensor) -> str:
    """Return a tensor's dtype and shape, as `float32 (3, 4)`."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
