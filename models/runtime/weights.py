"""Read and write named tensors as one safetensors file with a checksum, and load them into networks.

A file that is cut short or changed by a byte is refused. So is one whose tensors are not exactly those of the network,
by name, shape and dtype: a file of other settings would leave parts of the network at random values.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import IO, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

_CHECKSUM, _NAMED = "sha256", 3
_DTYPES = {
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""Names of dtypes in a file, in the order in which safetensors itself stores them."""


class WeightsError(ValueError):
    """A file of tensors is wrong; the caller adds which file it is, and what to do."""


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with `prefix.` before each name."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def part_of(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix.`, without it: the inverse of `prefixed`."""
    return {name[len(prefix) + 1 :]: t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors as a safetensors file with their checksum."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(plain, {_CHECKSUM: _checksum(plain)})


def write_packed(tensors: Mapping[str, Tensor], file: IO[bytes]) -> None:
    """Write to a file what `pack` returns, byte for byte, tensor by tensor: without a second copy in memory.

    Other threads run meanwhile: neither the checksum nor the writing holds Python's lock for long.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    order = list(_DTYPES)
    names = sorted(plain, key=lambda name: (order.index(plain[name].dtype), name))
    header: dict[str, object] = {"__metadata__": {_CHECKSUM: _checksum(plain)}}
    end = 0
    for name in names:
        start, end = end, end + plain[name].nbytes
        about = {"dtype": _DTYPES[plain[name].dtype], "shape": list(plain[name].shape), "data_offsets": [start, end]}
        header[name] = about
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        file.write(_bytes_of(plain[name]))


def unpack(data: bytes) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file; one without a checksum is not checked.

    Raises:
        WeightsError: the file is cut short, not safetensors, or its tensors do not match its checksum.
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
        digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def _bytes_of(tensor: Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data


class Loads(Protocol):
    """An optimizer whose state can be loaded."""

    def kinds(self, tensors: Mapping[str, Tensor]) -> dict[str, str]:
        """Return name and kind of the state that belongs to these tensors."""

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the tensors over."""


class HasState(Protocol):
    """A network, or the part of one that this process holds."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return its tensors by name."""

    def load_state_dict(self, tensors: Mapping[str, Tensor], /) -> object:
        """Copy tensors of the same names into it."""


def load_states(networks: Mapping[str, HasState], optimizers: Mapping[str, Loads], tensors: dict[str, Tensor]) -> None:
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
