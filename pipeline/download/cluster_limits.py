"""Rate limits that hold for a whole Ray cluster: runs on several machines share the slots of a site.

One process of the cluster keeps the counts (a named actor, on the machine of the run that made it), in the same file
that runs of one machine share. A run that says nothing for half a minute is gone, and its slots are free again.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.config import DownloadConfig
from pipeline.config.engine import EngineConfig
from pipeline.download.rate_limits import SiteLimits, Wait
from pipeline.errors import UserError
from pipeline.job import BatchJob
from pipeline.sources.politeness import limit_of
from pipeline.workers.ray_cluster import NAMESPACE, connected

KEEPER = "lampworks-rate-limits"
"""Name of the actor."""
_LEASE_S = 30.0
_ANSWER_S = 120.0
"""Longest wait for the keeper: its process starts with the first question."""


def limits_of(job: BatchJob) -> SiteLimits | ClusterLimits:
    """Return the limits of a batch's source: of this machine, or of the cluster that its downloads run on."""
    config, source = job.config, job.config.source.kind
    # a source without limits needs no keeper
    if config.engine.backend == "local" or limit_of(source, "", config.download).is_none:
        return SiteLimits(job.home.limits, source, config.download)
    return ClusterLimits(job.home.limits, source, config.download, config.engine)


class LimitKeeper:
    """The slots of all runs; runs in a process of the cluster."""

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = Path(path), clock
        self._limits: dict[str, SiteLimits] = {}
        self._seen: dict[str, float] = {}

    def start(self, run: str, source: str, config: DownloadConfig, site: str) -> Wait | None:
        """Take a slot for a download of a run and return None, or return how long to wait and why."""
        self.renew(run)
        for other in [other for other, at in self._seen.items() if self._clock() - at > _LEASE_S]:
            self.leave(other)
        limits = self._limits.setdefault(run, SiteLimits(self._path, source, config))
        return limits.start(site)

    def finish(self, run: str, site: str) -> None:
        """Release a slot of a run."""
        if run in self._limits:
            self._limits[run].finish(site)

    def renew(self, run: str) -> None:
        """Note that a run goes on."""
        self._seen[run] = self._clock()

    def leave(self, run: str) -> None:
        """Release all slots of a run."""
        self._seen.pop(run, None)
        limits = self._limits.pop(run, None)
        if limits is not None:
            limits.__exit__()


class ClusterLimits:
    """Download slots of all sites, shared by the runs on a cluster; a context manager, as `SiteLimits`."""

    def __init__(self, path: Path, source: str, config: DownloadConfig, engine: EngineConfig) -> None:
        self.source, self.config, self.engine = source, config, engine
        self._path, self._run = path, uuid.uuid4().hex
        self._ray: Any = None
        self._keeper: Any = None
        self._over = threading.Event()

    def __enter__(self) -> ClusterLimits:
        ray = self._ray = connected(self.engine)
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        keeper = ray.remote(LimitKeeper).options(
            name=KEEPER,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
            scheduling_strategy=here,
        )
        self._keeper = keeper.remote(str(self._path))
        threading.Thread(target=self._renew, name="rate limits", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        with suppress(UserError):  # its slots are free when its lease ends
            self._ask(self._keeper.leave, self._run)

    def start(self, site: str) -> Wait | None:
        """Take a slot for one download and return None; where there is none, return how long to wait and why.

        Raises:
            UserError: the keeper does not answer.
        """
        found: Wait | None = self._ask(self._keeper.start, self._run, self.source, self.config, site)
        return found

    def finish(self, site: str) -> None:
        """Release the slot of one download."""
        self._ask(self._keeper.finish, self._run, site)

    def _ask(self, method: Any, *arguments: object) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(method.remote(*arguments), timeout=_ANSWER_S)
        except (errors.RayActorError, errors.GetTimeoutError) as error:
            raise UserError(
                f"the rate limits of the Ray cluster at {self.engine.address} are not known: the actor {KEEPER} does "
                f"not answer ({type(error).__name__}). Run again; what was done is kept."
            ) from error

    def _renew(self) -> None:
        while not self._over.wait(_LEASE_S / 3):
            self._keeper.renew.remote(self._run)
