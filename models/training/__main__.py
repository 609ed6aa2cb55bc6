"""Train one model from a file of settings, without Dagster.

    python -m models.training tokenizer --config world.yaml --root lampworks-data
    python -m models.training world --config world.yaml --set training.processes=2
    torchrun --nproc-per-node 8 -m models.training world --config world.yaml

It trains on the root's training shards and publishes the model there, exactly as the asset does. With
`training.processes` or `training.nodes` above 1 it starts torchrun itself, and starts the whole group again from the
last checkpoint where one of its processes dies (`training.restarts`). On several machines each runs the same command.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.runtime.process import end_with_parent
from models.runtime.ranks import Ranks, among_ranks, joined_ranks
from models.training.check_ranks import check_ranks
from models.training.group import run_group
from models.training.observed import Observed
from models.training.report import Event, Report
from models.training.train import TrainReport, train_tokenizer, train_world_model
from pipeline.config import Config, load_config, parse_overrides
from pipeline.errors import PermanentError, StoreError, UserError
from pipeline.job import Job
from pipeline.model_ids import TOKENIZER, WORLD, TrainedKind, steps_of
from pipeline.progress import notify, show_progress_lines
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from pipeline.usage import used

DEFAULT_ROOT = "lampworks-data"
_TRAIN: Mapping[str, tuple[Callable[..., TrainReport], TrainedKind]] = {
    "tokenizer": (train_tokenizer, TOKENIZER),
    "world": (train_world_model, WORLD),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says; return the exit status: 0, or 2 after an error of the user's."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    report = Report(options.report)
    try:
        config, store = _config(options), _store(options)
        training = config.training
        if not among_ranks() and training.processes * training.nodes > 1:
            # what its processes would say one after another, before any is started
            check_ranks(config, _TRAIN[options.model][1], Ranks(0, training.processes * training.nodes))
            run_group(given, config, store, on_event=_forward(report))
        else:
            try:
                _train(options, config, store, report)
            finally:
                report.write("used", rank=int(os.environ.get("RANK", 0)), **dataclasses.asdict(used()))
    except (UserError, PermanentError, StoreError) as exc:
        _tell(report, exc, final=True)
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as exc:
        _tell(report, exc, final=False)
        raise
    return 0


def _train(options: argparse.Namespace, config: Config, store: Store, report: Report) -> None:
    if among_ranks():
        # torchrun that was killed leaves its processes: they would go on beside the next group
        end_with_parent(signal.SIGKILL)
    report.write("started", rank=int(os.environ.get("RANK", 0)), pid=os.getpid())
    with joined_ranks(config.training) as ranks:
        of_machine = report if ranks.local_rank == 0 else Report()
        if not ranks.first:
            show_progress_lines(False)
            report = Report()
        job = Job(store, config, home_of(store, options.home), report.line)
        train, kind = _TRAIN[options.model]
        # a file of every step of a month would be as large as a checkpoint
        on_step = Observed(steps_of(kind, config), report.step)
        done = train(job, on_step=on_step, ranks=ranks, report=report)
        # no machine ends before the first rank has published: its death there would find the others gone
        of_machine.write("published", **ranks.share(dataclasses.asdict(done)))
        if ranks.first:
            _say(done, ranks)


def _say(done: TrainReport, ranks: Ranks) -> None:
    what = "was published before" if done.skipped else f"published after {done.steps} steps"
    where = "" if ranks.alone else f" on {ranks.count} processes"
    notify(f"{done.kind} {done.model_id}: {what}{where}", None)


def _tell(report: Report, exc: Exception, *, final: bool) -> None:
    rank = int(os.environ.get("RANK", 0))
    report.write("error", rank=rank, type=type(exc).__name__, text=str(exc), final=final)
    if final and rank == 0:
        sys.stderr.write(f"error: {exc}\n")


def _forward(report: Report) -> Callable[[Event], None]:
    """Return what passes the events of a group on to the one that started this process."""
    return lambda event: report.write(**{"event": event["event"], **event})


def _config(options: argparse.Namespace) -> Config:
    return load_config(options.config, **parse_overrides(options.set))


def _store(options: argparse.Namespace) -> Store:
    try:
        storage: Any = json.loads(options.storage_options or "{}")
    except ValueError as exc:
        raise UserError(f"--storage-options is not JSON: {exc}") from exc
    if not isinstance(storage, dict):
        raise UserError(f"--storage-options = {options.storage_options!r}: must be one JSON object of names and values")
    store = Store(options.root, {str(name): str(value) for name, value in storage.items()})
    if store.is_local and Path(store.root).is_file():
        raise UserError(f"--root = {store.root!r} is a file: name the folder of a root")
    return store


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m models.training", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", choices=list(_TRAIN), help="what is trained; a world needs its tokenizer")
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="settings, as `lampworks config`")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting over the file's")
    parser.add_argument(
        "--root", default=os.environ.get("LAMPWORKS_ROOT") or DEFAULT_ROOT, help="folder or URL of the store"
    )
    parser.add_argument(
        "--home", default=os.environ.get("LAMPWORKS_HOME") or None, help="folder of local state; by default the root"
    )
    parser.add_argument(
        "--storage-options", default=os.environ.get("LAMPWORKS_STORAGE_OPTIONS"), help="of the store, as JSON"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="append events as JSON lines to it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
