"""The driver: one full pass of the graph, as the several runs that it takes, in order.

`demo`, `lampworks run` and the weekly schedule share it. Search; one run per due batch; global clip assets; labels
and classifier; scores per batch; decision and shards; training; evaluation. Each is a Dagster run in this process, on
the root's own Dagster home. Before one is launched the store is asked whether there is anything to do: a pass that
finds everything done launches nothing and writes nothing.

    full_pass(load_settings(root="lampworks-data"), on_progress=print)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from assets.graph.context import USER_ERROR
from assets.graph.definitions import graph_of
from assets.graph.jobs import ASSETS, JOBS, ON_REQUEST
from assets.graph.partitions import register_batches
from assets.passes.due import collect_due, has_clips, is_due, labels_due, rounds_due, unscored_batches, waiting_videos
from assets.passes.instance import open_instance, sweep_killed_runs
from assets.passes.lock import lock_home
from assets.passes.selection import resolve_selection
from assets.report.contact_sheets import withdraw_sheets
from assets.settings import Settings, save_config
from pipeline.errors import UserError

Say = Callable[[str], None]
# a decision by flags alone learns nothing from labels: these have no part in it
_LEARNED = frozenset({"quality_classifier", "clip_scores"})
# checks of raw_videos that tell of downloads which wait
_HELD = frozenset({"site_open", "paused"})


class PassError(Exception):
    """A run of the pass failed: what it said, whose fault it is, and which run to look at."""

    def __init__(self, message: str, *, by_user: bool, run_id: str) -> None:
        super().__init__(message)
        self.by_user, self.run_id = by_user, run_id


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


def full_pass(
    settings: Settings,
    select: Sequence[str] | None = None,
    *,
    on_progress: Say = print,
    labels: Path | None = None,
    annotator: str = "import",
    ablation_steps: int | None = None,
    instance: dg.DagsterInstance | None = None,
    report: bool = True,
) -> PassResult:
    """Materialize what is due of the selected assets, upstream first.

    Args:
        settings: root, configuration and home.
        select: names of assets, `+name` with everything before it, `name+` with everything behind it; None means all
            but those that run on request only.
        on_progress: hears one line per run and per finding.
        labels: a file of labels to import before the classifier learns.
        annotator: who rated the clips of that file.
        ablation_steps: steps of each arm of `curation_ablation`.
        instance: an open Dagster instance (the schedule's op has one); None opens the root's own when needed.
        report: whether to write the HTML report at the end.

    Raises:
        UserError: the selection, the root or another process' lock is in the way; nothing was started.
        PassError: a run failed; everything before it stays done.
    """
    from pipeline.search.spot_check import withdraw_spot_check

    wanted = resolve_selection(select, ASSETS, ON_REQUEST)
    start = time.monotonic()
    with lock_home(settings.home, settings.store.root) as fresh, ExitStack() as stack:
        runner = _Runner(settings, wanted, on_progress, stack, instance, sweep=fresh and instance is None)
        runner.recover()
        _collect(runner)
        if _can_go_on(runner):
            _curate(runner, labels, annotator)
            _train(runner, ablation_steps)
        # pictures of what was taken down since go, whatever else there is to do
        withdraw_sheets(settings.store, settings.config)
        withdraw_spot_check(settings.store)
        if report:
            runner.report()
        runner.result.seconds = time.monotonic() - start
    return runner.result


def _collect(runner: _Runner) -> None:
    failure: PassError | None = None
    if runner.wants("search_results"):
        # a later round is searched after the first one's batches are done: the graph grows as it would in the wild
        for round_number in rounds_due(runner.settings):
            title = "search" if round_number is None else f"search, round {round_number}"
            try:
                runner.run("discover", title, config={"search_results": {"round": round_number or 0}})
            except PassError as exc:
                # what was found before is fetched all the same
                failure = exc
                break
            _collect_batches(runner)
    _collect_batches(runner)
    if failure is not None:
        raise failure


def _collect_batches(runner: _Runner) -> None:
    wanted = [asset for asset in JOBS["collect_batch"] if runner.wants(asset)]
    if not wanted:
        return
    failures = []
    waiting = _batches_that_can_go_on(runner)
    while waiting:
        batch, *waiting = waiting
        held: set[str] = set()
        try:
            held = runner.run("collect_batch", f"{' and '.join(wanted)}, batch {batch}", assets=wanted, batch=batch)
        except PassError as exc:
            # one bad batch never stops the others; what the user must mend would stop each of them
            failures.append(exc)
            if exc.by_user:
                break
        runner.paused |= "paused" in held
        if held & _HELD:
            # a run per batch that can do nothing would only say so again
            go_on = set(_batches_that_can_go_on(runner))
            waiting = [one for one in waiting if one in go_on]
    if failures:
        raise failures[0]


def _batches_that_can_go_on(runner: _Runner) -> list[str]:
    """Return the due batches, without those whose site rests; those to be cut alone while downloads pause."""
    due = collect_due(runner.settings.store, runner.settings.config, datetime.now(UTC))
    return [batch for batch in due.batches if batch in due.cuts or not runner.paused]


def _can_go_on(runner: _Runner) -> bool:
    """Tell whether there is something to curate; False, with a warning, where all downloads wait for a better time.

    Raises:
        UserError: assets behind the clips are wanted, and there is and will be no clip.
    """
    settings = runner.settings
    if not any(runner.wants(asset) for asset in ASSETS[3:]) or has_clips(settings.store, settings.config):
        return True
    pending, next_at = waiting_videos(settings)
    if not pending:
        raise UserError(_nothing_to_cut(settings))
    when = f"not before {next_at:%Y-%m-%d %H:%M} UTC" if next_at else "as soon as what holds them back is over"
    runner.warn(f"no clip yet: {pending} videos are pending, to be tried {when}; run again then, it goes on from here")
    return False


def _curate(runner: _Runner, labels: Path | None, annotator: str) -> None:
    settings = runner.settings
    runner.run_due("compare_clips", "near-duplicates")
    flags_only = settings.config.decision.mode == "flags"
    if flags_only and runner.wants("curated_clips"):
        runner.result.flags_only = True
        runner.on_progress("flags-only decision (decision.mode: flags): no classifier and no scores")
        runner.leave_out(_LEARNED)
    config, force = {}, []
    if labels is not None and not runner.wants("quality_labels"):
        runner.on_progress(f"   warning: {labels} is not imported: quality_labels is not selected")
    elif labels is not None and labels_due(settings, labels, annotator):
        config = {"quality_labels": {"file": str(labels.absolute()), "annotator": annotator}}
        force = ["quality_labels"]
    runner.run_due("label", "labels", config=config, force=force)
    runner.run_due("learn", "quality classifier")
    if runner.wants("clip_scores"):
        for batch in unscored_batches(settings):
            runner.run("score_batch", f"scores, batch {batch}", batch=batch)
    runner.run_due("decide", "decision and shards")


def _train(runner: _Runner, ablation_steps: int | None) -> None:
    runner.run_due("train_world_model", "world model")
    runner.run_due("evaluate", "evaluation")
    if runner.wants("curation_ablation"):
        config = {"curation_ablation": {"ablation_steps": ablation_steps}} if ablation_steps else {}
        runner.run_due("ablate", "curation ablation", config=config)


def _nothing_to_cut(settings: Settings) -> str:
    videos = settings.store.read("videos", ["verdict"])["verdict"].to_pylist()
    kept = videos.count("kept")
    spec = settings.config.source.spec
    if not videos:
        return f"source {spec!r} found no video at all: check it, and `lampworks doctor`, then run again."
    if not kept:
        return (
            f"source {spec!r}: none of {len(videos)} videos passed the search rules. See `lampworks status` for the "
            "rules that rejected them; your own folder needs no rules: `source: {apply_rules: false}` in --config."
        )
    return (
        f"source {spec!r}: {kept} videos were kept and none gave a clip. `lampworks status` counts the reasons and "
        "`lampworks why VIDEO` tells one."
    )


class _Runner:
    """Launches runs on the root's Dagster instance, which is opened for the first of them."""

    def __init__(
        self,
        settings: Settings,
        wanted: frozenset[str],
        on_progress: Say,
        stack: ExitStack,
        instance: dg.DagsterInstance | None,
        sweep: bool,
    ) -> None:
        self.settings, self.on_progress, self.result = settings, on_progress, PassResult()
        self.paused = False
        self._graph = graph_of(settings)
        self._wanted, self._stack, self._instance, self._sweep = set(wanted), stack, instance, sweep

    @property
    def _marker(self) -> Path:
        # there while runs are going on: a pass with nothing to do needs not open Dagster's database to know
        return self.settings.home.dagster / "running"

    def wants(self, asset: str) -> bool:
        return asset in self._wanted

    def leave_out(self, assets: frozenset[str]) -> None:
        self._wanted -= assets

    def recover(self) -> None:
        """Mend what a killed process left behind in the Dagster home."""
        if self._sweep and self._marker.exists():
            self._open()

    def run_due(self, job: str, title: str, config: Mapping[str, Any] | None = None, force: Sequence[str] = ()) -> None:
        """Launch a job of global assets for its first due asset and those behind it; nothing due, nothing launched."""
        wanted = [asset for asset in JOBS[job] if self.wants(asset)]
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
        """Launch one run, wait for it, and return the checks that warned; PassError tells what a failed run said."""
        instance = self._open()
        chosen = list(assets or JOBS[job])
        self.on_progress(f"== {title}")
        self.result.runs.append(title)
        if batch is not None:
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
            tags={"lampworks/pass": "driver"},
        )
        warned = self._note_checks(outcome)
        if not outcome.success:
            raise _failure(title, outcome)
        return warned

    def warn(self, text: str) -> None:
        """Say a warning, and keep it for the summary (once: many batches may have the same one)."""
        if text not in self.result.warnings:
            self.result.warnings.append(text)
            self.on_progress(f"   warning: {text}")

    def report(self) -> None:
        """Write the HTML report if it would change."""
        from assets.report.page import write_report

        write_report(self.settings.store, self.settings.config, self.settings.home)

    def _open(self) -> dg.DagsterInstance:
        if self._instance is None:
            settings = self.settings
            settings.store.check_writable()
            self._instance = self._stack.enter_context(open_instance(settings.home))
            self._stack.enter_context(_present(self._marker))
            save_config(settings)
            for run_id in sweep_killed_runs(self._instance) if self._sweep else []:
                self.on_progress(
                    f"run {run_id[:8]} of before was killed; marked failed, its work goes on from what is published"
                )
        return self._instance

    def _note_checks(self, outcome: dg.ExecuteInProcessResult) -> set[str]:
        warned = set()
        for evaluation in outcome.get_asset_check_evaluations():
            if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.WARN:
                asset = evaluation.asset_key.to_user_string()
                self.warn(f"{asset}: check {evaluation.check_name} did not pass: {evaluation.description or ''}")
                warned.add(evaluation.check_name)
        return warned


@contextmanager
def _present(marker: Path) -> Iterator[None]:
    """Keep a file there while the block runs; it stays behind only where the process is killed."""
    marker.touch()
    try:
        yield
    finally:
        marker.unlink(missing_ok=True)


def _failure(title: str, outcome: dg.ExecuteInProcessResult) -> PassError:
    """Return what a failed run said, as one error."""
    for evaluation in outcome.get_asset_check_evaluations():
        if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
            asset = evaluation.asset_key.to_user_string()
            message = f"{title}: blocking check {evaluation.check_name} of {asset} failed: {evaluation.description}"
            return PassError(message, by_user=False, run_id=outcome.run_id)
    for event in outcome.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None:
                by_user = USER_ERROR in data.user_failure_data.metadata
                text = str(data.user_failure_data.description)
                return PassError(text if by_user else f"{title}: {text}", by_user=by_user, run_id=outcome.run_id)
            error = data.error
            while error is not None and error.cause is not None:
                error = error.cause
            if error is not None and error.cls_name == "DagsterExecutionInterruptedError":
                # Ctrl-C inside a step: Dagster has closed the run; above it is Ctrl-C again
                raise KeyboardInterrupt
            said = error.message.strip() if error is not None else "no error was recorded"
            return PassError(f"{title}: {said}", by_user=False, run_id=outcome.run_id)
    return PassError(f"{title}: the run failed before its first step", by_user=False, run_id=outcome.run_id)
