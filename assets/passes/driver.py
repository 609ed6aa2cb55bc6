"""The driver: one full pass of the graph, as the several runs that it takes, in order.

`demo`, `lampworks run`, the weekly schedule and the job `full_pass` share it. Search; one run per due batch; global
clip assets; labels and classifier; scores per batch; decision and shards; training; evaluation. Each is a Dagster run
in this process, on the root's own Dagster home. Before a run is launched, the driver reads from the store whether it
has anything to do: a pass that finds everything done launches nothing and writes nothing.

    full_pass(load_settings(root="lampworks-data"), on_progress=print)
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from assets.passes.due import labels_due, rounds_due
from assets.passes.due_batches import collect_due, has_clips, unembedded_batches, unscored_batches, waiting_videos
from assets.passes.failures import PassError
from assets.passes.lock import lock_home
from assets.passes.runner import PassResult, Runner
from assets.passes.selection import downstream_of, resolve_selection
from assets.report.contact_sheets import withdraw_sheets
from assets.settings import Settings
from pipeline.errors import UserError
from pipeline.outside import shown_url
from pipeline.progress import ProgressCallback

# a decision by flags alone learns nothing from labels and needs no scores
_LEARNED = ("quality_classifier", "clip_scores")
_EMBEDDED = ("clip_embeddings",)
# checks of raw_videos that report downloads on hold
_ON_HOLD = frozenset({"site_open", "paused"})


@dataclass(frozen=True)
class PassOptions:
    """What a pass does beside making the selected assets."""

    labels: Path | None = None
    """A file of labels to import before the classifier is trained."""
    annotator: str = "import"
    """Who rated the clips of that file."""
    ablation_steps: int | None = None
    """Training steps of each arm of `curation_ablation`; None keeps the asset's default."""
    ablation_seeds: int | None = None
    """Seeds of each arm; None keeps the asset's default."""
    report: bool = True
    """Whether to write the HTML report at the end."""


def full_pass(
    settings: Settings,
    select: Sequence[str] | None = None,
    *,
    on_progress: ProgressCallback = print,
    options: PassOptions | None = None,
    instance: dg.DagsterInstance | None = None,
    parent: str | None = None,
) -> PassResult:
    """Materialize what is due of the selected assets, upstream first.

    Args:
        settings: root, configuration and home.
        select: names of assets, `+name` with everything upstream of it, `name+` with everything downstream; None
            means all but those that run on request only.
        on_progress: called with one line per run and per finding.
        options: labels to import, the ablation's length, the report.
        instance: an open Dagster instance (a run that starts the driver has one); None opens the root's own.
        parent: id of the run that starts the driver.

    Raises:
        UserError: the selection, the root or another process' lock is in the way; nothing was started.
        PassError: a run failed; everything before it stays done.
    """
    from assets.report.page import withdraw_pages
    from assets.report.redraw import draw_missing
    from pipeline.search.spot_check import withdraw_spot_check
    from pipeline.tokens.removal import withdraw_tokens

    options = options or PassOptions()
    wanted = resolve_selection(select)
    start = time.monotonic()
    with (
        lock_home(settings.home, settings.store.root) as fresh,
        Runner(settings, wanted, on_progress, instance, sweep=fresh and instance is None, parent=parent) as runner,
    ):
        runner.recover()
        leave_out_embeddings(runner)
        _collect(runner)
        _embed(runner)
        if _has_something_to_curate(runner):
            _curate(runner, options)
            _train(runner, options)
        runner.remember()
        if runner.follows_a_kill:
            draw_missing(settings, spot_check=runner.wants("search_results"), sheets=runner.wants("raw_videos"))
        # pictures and tokens of videos that were taken down since are removed, whatever else there is to do
        withdraw_sheets(settings.store, settings.config)
        withdraw_spot_check(settings.store)
        withdraw_pages(settings.store)
        withdraw_tokens(settings.store)
        if options.report:
            from assets.report.page import write_report

            write_report(settings.store, settings.config)
        runner.result.seconds = time.monotonic() - start
    return runner.result


# -- search, download, cut ----------------------------------------------------------------------------------------


def _collect(runner: Runner) -> None:
    failure: PassError | None = None
    paused = False
    if runner.wants("search_results"):
        # a later round is searched after the first one's batches are done: the graph grows as it would on a real site
        for round_number in rounds_due(runner.settings):
            title = "search" if round_number is None else f"search, round {round_number}"
            try:
                runner.run("discover", title, config={"search_results": {"round": round_number or 0}})
            except PassError as exc:
                # what was found before is downloaded all the same
                failure = exc
                break
            paused = _collect_batches(runner, paused)
    _collect_batches(runner, paused)
    if failure is not None:
        raise failure


def _collect_batches(runner: Runner, paused: bool) -> bool:
    """Run every due batch; return whether downloads are paused (a full disk, a quota, a daily limit)."""
    wanted = runner.wanted_of("collect_batch")
    if not {*wanted} - {*_EMBEDDED}:
        return paused
    failures = []
    waiting = _ready_batches(runner.settings, paused)
    while waiting:
        batch, *waiting = waiting
        warned: set[str] = set()
        try:
            warned = runner.run("collect_batch", f"{' and '.join(wanted)}, batch {batch}", assets=wanted, batch=batch)
        except PassError as exc:
            # one bad batch never stops the others; an error that the user must fix would stop each of them
            failures.append(exc)
            if exc.by_user:
                break
        paused |= "paused" in warned
        if warned & _ON_HOLD:
            # batches that can do nothing now would only report the same again
            ready = set(_ready_batches(runner.settings, paused))
            waiting = [one for one in waiting if one in ready]
    if failures:
        raise failures[0]
    return paused


def leave_out_embeddings(runner: Runner) -> None:
    """Leave embeddings out where they are off, or where a decision without a classifier is all that reads them."""
    config = runner.settings.config
    if not config.embedding.enabled or (config.decision.mode != "classifier" and runner.wants("curated_clips")):
        runner.leave_out(_EMBEDDED)


def _embed(runner: Runner) -> None:
    """Embed the clips of batches that nothing else was due for: the network is another one, or was off."""
    if runner.wants(*_EMBEDDED):
        for batch in unembedded_batches(runner.settings):
            runner.run("collect_batch", f"embeddings, batch {batch}", assets=_EMBEDDED, batch=batch)


def _ready_batches(settings: Settings, paused: bool) -> list[str]:
    """Return the due batches; while downloads are paused, only those with a downloaded video to cut."""
    due = collect_due(settings.store, settings.config, datetime.now(UTC))
    return [batch for batch in due.batches if batch in due.cuts or not paused]


def _has_something_to_curate(runner: Runner) -> bool:
    """Return whether there are clips; False, with a warning, where all videos wait for a later download.

    Raises:
        UserError: assets downstream of the clips are selected, and there is no clip and no video that could give one.
    """
    settings = runner.settings
    if not runner.wants(*downstream_of("clips")) or has_clips(settings.store, settings.config):
        return True
    pending, next_at = waiting_videos(settings)
    if not pending:
        raise UserError(_no_clips(settings))
    when = f"not before {next_at:%Y-%m-%d %H:%M} UTC" if next_at else "as soon as downloads are no longer held back"
    runner.warn(f"no clip yet: {pending} videos are pending, to be tried {when}; run again then to continue")
    return False


def _no_clips(settings: Settings) -> str:
    videos = settings.store.read("videos", ["verdict"])["verdict"].to_pylist()
    kept = videos.count("kept")
    spec = shown_url(settings.config.source.spec)
    if not videos:
        return f"source {spec!r} found no video: check it, run `lampworks doctor`, then run again."
    if not kept:
        return (
            f"source {spec!r}: none of {len(videos)} videos passed the search rules. `lampworks status` lists the "
            "rules that rejected them; your own folder needs no rules: `source: {apply_rules: false}` in --config."
        )
    return (
        f"source {spec!r}: {kept} videos were kept and none gave a clip. `lampworks status` counts the reasons; "
        "`lampworks why VIDEO` shows the reason of one video."
    )


# -- curate, train, evaluate --------------------------------------------------------------------------------------


def _curate(runner: Runner, options: PassOptions) -> None:
    settings, labels = runner.settings, options.labels
    runner.run_due("compare_clips", "near-duplicates")
    mode = settings.config.decision.mode
    if mode != "classifier" and runner.wants("curated_clips"):
        if mode == "flags":
            runner.result.flags_only = True
            runner.on_progress("flags-only decision (decision.mode: flags): no classifier and no scores")
        runner.leave_out(_LEARNED)
    config, force = {}, []
    if labels is not None and not runner.wants("quality_labels"):
        runner.on_progress(f"   warning: {labels} is not imported: quality_labels is not selected")
    elif labels is not None and labels_due(settings, labels, options.annotator):
        config = {"quality_labels": {"file": str(labels.absolute()), "annotator": options.annotator}}
        force = ["quality_labels"]
    runner.run_due("label", "labels", config=config, force=force)
    runner.run_due("learn", "quality classifier")
    if runner.wants("clip_scores"):
        for batch in unscored_batches(settings):
            runner.run("score_batch", f"scores, batch {batch}", batch=batch)
    runner.run_due("decide", "decision and shards")


def _train(runner: Runner, options: PassOptions) -> None:
    runner.run_due("train_world_model", "world model")
    runner.run_due("encode_tokens", "token shards")
    runner.run_due("evaluate", "evaluation")
    if runner.wants("curation_ablation"):
        asked = {"ablation_steps": options.ablation_steps, "ablation_seeds": options.ablation_seeds}
        given = {name: value for name, value in asked.items() if value}
        runner.run("ablate", "curation ablation", config={"curation_ablation": {"confirm": True, **given}})
