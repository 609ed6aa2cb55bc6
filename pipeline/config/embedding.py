"""Configuration of the embedding: what the frames of a clip look like to a frozen network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.section import Count, Section
from pipeline.errors import UserError

BUILT_IN = "efficientnet-lite0"
"""The network whose weights are installed with lampworks."""
_Side = Annotated[int, Field(ge=32, le=1024)]


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig(Section, name="embedding"):
    """The frozen ImageNet network that describes clips by their stored frames."""

    enabled: bool = True
    """Whether clips are embedded; without it no classifier on the embedding, no diverse queue, no `similar`."""
    network: str = BUILT_IN
    """`efficientnet-lite0` (its weights are installed), FILE.safetensors with other weights of that network, or
    FILE.pt, a TorchScript module: a program that is run, so name only a file whose author you trust."""
    frames: Annotated[int, Field(ge=1, le=8)] = 8
    """Frames per clip that the network sees, of the 8 that are stored beside it."""
    width: _Side = 160
    """Width in pixels of the frames that the network sees; 160x90, as they are stored, costs half of 224x126."""
    height: _Side = 90
    """Height in pixels of the frames that the network sees."""
    dtype: Literal["fp32", "bf16"] = "fp32"
    """Numbers that the network computes with; `bf16` is twice as fast on a CPU that has it, and slow on one that has
    not."""
    threads: Count = 2
    """Clips at a time on a CPU, one thread each; their number changes no result."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the network; `auto` takes a GPU if there is one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.network != BUILT_IN and PurePath(self.network).suffix not in {".pt", ".safetensors"}:
            raise UserError(
                f"embedding.network = {self.network!r}: must be {BUILT_IN}, a FILE.safetensors with weights of that "
                "network, or a FILE.pt (TorchScript)"
            )
