"""Configuration of the engine: worker processes of this machine, or tasks on a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from pipeline.config.section import Count, Section
from pipeline.errors import UserError

_ADVICE = "name the head of your own cluster as HOST:PORT, the address that `ray start --head` printed"


@dataclass(frozen=True, kw_only=True)
class EngineConfig(Section, name="engine"):
    """How items are spread over worker processes."""

    backend: Literal["local", "ray"] = "local"
    """`local`: processes of this machine. `ray`: tasks on your own Ray cluster, of which this machine is a node (see
    docs/operations.md); it needs `pip install "lampworks[ray]"` here and on all nodes."""
    workers: NonNegativeInt = 0
    """Worker processes; 0 means one per core, or as many tasks as the cluster has room for."""
    max_attempts: Count = 3
    """Attempts of an item that kills its worker, or whose node is lost, before it is quarantined."""
    deadline_s: PositiveFloat = 900.0
    """An item that runs longer is ended with its worker and not tried again in the same run."""
    memory_mb: Annotated[int, Field(ge=512)] = 2048
    """Memory in MB that a worker process may hold, its children included: an item that needs more is ended. The program
    takes 200, a video in 4K 300 and one in 8K 700 of them (measured)."""
    address: str = ""
    """HOST:PORT of the head of the Ray cluster. It is never searched for: another person's cluster could be found."""
    token_file: str = ""
    """File with the cluster's token, which proves that the cluster is yours. Unset: what RAY_AUTH_TOKEN_PATH says."""
    connect_s: PositiveFloat = 10.0
    """Longest wait for an answer of the cluster's head. Without one a run ends, and keeps what is done."""
    ship_code: bool = True
    """Whether the nodes of the cluster get this machine's code. False: each node has the same code installed."""
    shared_root: bool = False
    """Whether the folder of the root, and that of the source, is the same on all nodes of the cluster. An `s3://` root
    needs no such folder."""
    node_tmp: str = ""
    """Folder on each node for temporary files. Unset: the node's own (TMPDIR, else /tmp)."""
    task_cpus: PositiveFloat = 1.0
    """Cores that Ray reserves for a task; downloads, which wait for a network, take a part of it."""
    task_gpus: NonNegativeFloat = 0.0
    """GPUs that Ray reserves for a task with a network (embeddings, scores, tokens), as 0.5."""
    task_memory_mb: NonNegativeInt = 0
    """Memory in MB that Ray reserves on a node for a task; 0: none is reserved, and `memory_mb` limits it all the
    same."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backend == "local":
            return
        host, _, port = self.address.rpartition(":")
        if not self.address:
            raise UserError(f"engine.backend = 'ray' and engine.address is not set: {_ADVICE}")
        if "/" in self.address or not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise UserError(f"engine.address = {self.address!r}: {_ADVICE}")
