"""Export a world as one HTML file that plays it without a server.

    export_page(store, config, "world.html")

The page computes what `lampworks play` computes, with the settings of `play` and the same noise: docs/play.md says how
far its frames are equal.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch

from models.export.contents import contents_of
from models.export.graphs import decoder_graph, dynamics_graph
from models.export.html import page_html
from models.export.runtime import Build
from models.export.weights import in_half
from models.runtime.compute import Compute
from models.world.load import load_world
from models.world.world import WorldModel
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.storage.store import Store
from pipeline.storage.takedown import repeat_after_takedown

Weights = Literal["fp16", "fp32"]
Backends = Literal["webgpu", "wasm"]
MAX_MB = 30.0
"""Largest page in megabytes, unless another limit is given."""
_BUILDS: dict[Backends, tuple[Build, ...]] = {"webgpu": ("wasm", "jspi"), "wasm": ("wasm",)}
_RUNTIME_MB: dict[Backends, float] = {"webgpu": 10.6, "wasm": 5.0}
"""Of the page, about, without a world."""


@dataclass(frozen=True)
class PageExport:
    """What was written."""

    world: str
    size_bytes: int
    starts: int


def export_page(
    store: Store,
    config: Config,
    path: str | Path,
    model: str | None = None,
    *,
    starts: int = 8,
    weights: Weights = "fp16",
    backends: Backends = "webgpu",
    max_mb: float = MAX_MB,
) -> PageExport:
    """Write a world as one HTML file.

    Args:
        store: holds the world, its evaluation and its start frames.
        config: the configured world is written, with the settings of `play`.
        path: the file; it is written under a temporary name and then renamed.
        model: id of another world, or the unique start of one.
        starts: most start frames.
        weights: how they are stored; products are fp32 in any case.
        backends: `wasm` leaves WebGPU out: half the size of the runtime.
        max_mb: largest page in megabytes.

    Raises:
        UserError: there is no such world or no start frame, the page would be too large, or it cannot be written.
    """
    if starts < 1:
        raise UserError(f"--starts {starts}: a page needs at least one start frame.")
    world = load_world(store, model or config, Compute(torch.device("cpu"), torch.float32, "for export"))
    _check_size(world, weights, backends, max_mb)
    graphs = {"dynamics": dynamics_graph(world), "decoder": decoder_graph(world)}
    if weights == "fp16":
        graphs = {name: in_half(graph) for name, graph in graphs.items()}
    packed = {name: graph.SerializeToString() for name, graph in graphs.items()}
    target = Path(path).absolute()
    temporary = target.parent / f".tmp-{uuid.uuid4().hex}"

    def write() -> PageExport:
        # start frames are read again where a takedown came meanwhile
        contents = contents_of(store, config, world, starts)
        html = page_html(contents, packed, _BUILDS[backends], version("lampworks")).encode("utf-8")
        if len(html) > max_mb * 1e6:
            raise UserError(_too_large(world, len(html) / 1e6, weights, backends, max_mb))
        temporary.write_bytes(html)
        return PageExport(world.model_id, len(html), len(contents.about["starts"]))

    try:
        found = repeat_after_takedown(store, write)
        temporary.replace(target)
    except OSError as exc:
        raise UserError(f"export to {str(target)!r} failed: {exc.strerror or exc}. Choose another file.") from exc
    finally:
        temporary.unlink(missing_ok=True)
    return found


def _check_size(world: WorldModel, weights: Weights, backends: Backends, max_mb: float) -> None:
    """Raise a UserError where the weights alone make the page too large, before anything is computed."""
    played = [world.dynamics, world.tokenizer.decoder]
    count = sum(parameter.numel() for network in played for parameter in network.parameters())
    # weights hardly shrink under gzip, and base64 adds a third; a tenth is left for what gzip may gain
    least = count * (2 if weights == "fp16" else 4) * 4 / 3 * 0.9 / 1e6 + _RUNTIME_MB[backends]
    if least > max_mb:
        raise UserError(_too_large(world, least, weights, backends, max_mb))


def _too_large(world: WorldModel, megabytes: float, weights: Weights, backends: Backends, max_mb: float) -> str:
    smaller = ["--weights fp16"] * (weights == "fp32") + ["--backends wasm"] * (backends == "webgpu")
    fixes = [f"give {' and '.join(smaller)}"] if smaller else []
    fixes.append(f"raise --max-mb to {int(megabytes) + 1}")
    return (
        f"world {world.model_id} as one page takes {megabytes:.1f} MB, and --max-mb allows {max_mb:g}: "
        f"{', or '.join(fixes)}."
    )
