"""Launches the runs of a pass, one after the other in this process, on the root's own Dagster instance."""

from __future__ import annotations

import logging
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dagster as dg

from assets.graph.definitions import graph_of
from assets.graph.jobs import JOBS
from assets.graph.partitions import register_batches
from assets.passes.due import is_due
from assets.passes.failures import failure_of
from assets.passes.instance import HOST_TAG, PARENT_TAG, open_instance, sweep_killed_runs
from assets.settings import Settings, save_config
from pipeline.interrupts import end_if_asked
from pipeline.progress import ProgressCallback
from pipeline.storage.sweep import sweep_after_kill

_LOGGER = logging.getLogger(__name__)


@dataclass
class PassResult:
    """What a pass did."""

    runs: list[str] = field(default_factory=list)
    """Title of every run that was launched, in order."""
    warnings: list[str] = field(default_factory=list)
    """Checks that failed without blocking."""
    seconds: float = 0.0
    flags_only: bool = False
    """Whether the decision used technical flags alone."""
    settings_changed: bool = False
    """Whether no run was launched, and the root remembers other settings than before."""


class Runner:
    """Launches runs of the selected assets; the Dagster instance is opened for the first of them.

    A context manager: leaving it closes the instance that it opened.
    """

    def __init__(
        self,
        settings: Settings,
        wanted: Collection[str],
        on_progress: ProgressCallback,
        instance: dg.DagsterInstance | None = None,
        *,
        sweep: bool = False,
        parent: str | None = None,
    ) -> None:
        """Prepare; nothing is opened.

        Args:
            settings: the root of the pass.
            wanted: names of the selected assets.
            on_progress: called with one line per run and per finding.
            instance: an open instance; None opens the root's own when it is needed.
            sweep: whether runs that a killed process left behind are to be marked failed.
            parent: id of the run that the pass is a part of; None where a command started it.
        """
        self.settings, self.on_progress, self.result = settings, on_progress, PassResult()
        self.follows_a_kill = False
        """Whether the pass before was killed; `recover` finds out."""
        self._wanted, self._instance, self._sweep = set(wanted), instance, sweep
        # who can tell whether these runs live: the run around them, or this machine
        self._whose = {HOST_TAG: socket.gethostname(), **({PARENT_TAG: parent} if parent else {})}
        self._stack = ExitStack()
        self._graph = graph_of(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def wants(self, *assets: str) -> bool:
        """Return whether any of these assets is selected."""
        return not self._wanted.isdisjoint(assets)

    def wanted_of(self, job: str) -> list[str]:
        """Return the selected assets of a job, in the order in which it makes them."""
        return [asset for asset in JOBS[job] if asset in self._wanted]

    def leave_out(self, assets: Collection[str]) -> None:
        """Remove assets from the selection."""
        self._wanted -= set(assets)

    def recover(self) -> None:
        """Mark the runs of a killed process as failed, and delete what it left, where one left its marker behind."""
        if self._sweep and self._marker.exists():
            self.follows_a_kill = True
            swept = sweep_after_kill(self.settings.store, self.settings.home)
            if swept:
                self.on_progress(f"{swept} unfinished files of a killed run are deleted")
            self._open()

    def remember(self) -> None:
        """Write the settings as those of the root, where no run was launched, which does so at its start."""
        if self._instance is None:
            self.result.settings_changed = save_config(self.settings)

    def run_due(self, job: str, title: str, config: Mapping[str, Any] | None = None, force: Sequence[str] = ()) -> None:
        """Launch a job of global assets from its first due asset on; launch nothing where none is due."""
        wanted = self.wanted_of(job)
        for index, asset in enumerate(wanted):
            if asset in force or is_due(asset, self.settings):
                self.run(job, title, assets=wanted[index:], config=config)
                return

    def run(
        self,
        job: str,
        title: str,
        *,
        assets: Sequence[str] | None = None,
        batch: str | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> set[str]:
        """Launch one run and wait for it.

        Args:
            job: name of the job.
            title: what the progress line calls the run.
            assets: the assets of the job to make; None means all.
            batch: partition key of a job per batch.
            config: asset -> its run config.

        Returns:
            The names of the checks that warned.

        Raises:
            PassError: the run failed.
            KeyboardInterrupt: the process was asked to end; Dagster has closed the run.
        """
        end_if_asked()
        instance = self._open()
        chosen = list(assets or JOBS[job])
        self.on_progress(f"== {title}")
        self.result.runs.append(title)
        # reading which batches there are takes longer with each that there is
        if batch is not None and not instance.has_dynamic_partition("video_batch", batch):
            register_batches(instance, self.settings.store)
        outcome = self._graph.resolve_job_def(job).execute_in_process(
            instance=instance,
            partition_key=batch,
            asset_selection=[dg.AssetKey(asset) for asset in chosen],
            raise_on_error=False,
            run_config={
                # events are stored all the same; this terminal is for progress
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                "ops": {asset: {"config": dict(config[asset])} for asset in chosen if config and asset in config},
            },
            tags={"lampworks/pass": "driver", **self._whose},
        )
        _LOGGER.info(
            "%s: run %s %s",
            title,
            outcome.run_id,
            "succeeded" if outcome.success else "failed",
            extra={"job": job, "run_id": outcome.run_id, "success": outcome.success, "batch": batch},
        )
        warned = self._warn_of_checks(outcome)
        # whatever else Dagster made of it
        end_if_asked()
        if not outcome.success:
            raise failure_of(title, outcome)
        return warned

    def warn(self, text: str) -> None:
        """Report a warning and keep it for the summary; once, because many batches may have the same one."""
        if text not in self.result.warnings:
            self.result.warnings.append(text)
            self.on_progress(f"   warning: {text}")

    @property
    def _marker(self) -> Path:
        # exists while runs are in progress: a pass with nothing to do need not open Dagster's database to know
        return self.settings.home.dagster / "running"

    def _open(self) -> dg.DagsterInstance:
        if self._instance is None:
            settings = self.settings
            settings.store.check_writable()
            self._instance = self._stack.enter_context(open_instance(settings.home))
            self._stack.enter_context(_file_present(self._marker))
            save_config(settings)
            for run_id in sweep_killed_runs(self._instance) if self._sweep else []:
                self.on_progress(
                    f"run {run_id[:8]} was killed and is marked failed; its work continues from what was published"
                )
        return self._instance

    def _warn_of_checks(self, outcome: dg.ExecuteInProcessResult) -> set[str]:
        warned = set()
        for evaluation in outcome.get_asset_check_evaluations():
            if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.WARN:
                asset = evaluation.asset_key.to_user_string()
                self.warn(f"{asset}: check {evaluation.check_name} did not pass: {evaluation.description or ''}")
                warned.add(evaluation.check_name)
        return warned


@contextmanager
def _file_present(marker: Path) -> Iterator[None]:
    """Keep a file in place while the block runs; only a killed process leaves it behind."""
    marker.touch()
    try:
        yield
    finally:
        marker.unlink(missing_ok=True)
