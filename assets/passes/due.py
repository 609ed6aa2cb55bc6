"""What has something to do: asked of the store before a run is launched, so that a pass with nothing to do is silent.

Only reads. The driver, the sensor and `lampworks run --plan` share it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets.settings import Settings
from pipeline.clip_spec import clip_spec
from pipeline.config import Config
from pipeline.storage.arrow import pc, rows_with, unique
from pipeline.storage.models_table import newest_model
from pipeline.storage.rows import Rows
from pipeline.storage.store import Store


class Peek(Store):
    """A store that notes what would be written to its tables instead of writing it: a stage asked what it would do."""

    touched = False

    def append(self, name: str, rows: Rows, inputs: Mapping[str, Any] | None = None) -> int:
        """Note that rows would be appended."""
        self.touched |= len(rows) > 0
        return self.version(name)

    def merge(self, name: str, rows: Rows, on: Sequence[str], *inputs: Any, **how: Any) -> int:
        """Note that rows would be merged."""
        self.touched |= len(rows) > 0
        return self.version(name)

    def add_to_lists(self, name: str, on: str, column: str, additions: Mapping[str, Sequence[str]]) -> int:
        """Note that lists would grow."""
        self.touched |= len(additions) > 0
        return self.version(name)


def rounds_due(settings: Settings) -> Iterator[int | None]:
    """Yield the searches to make, one after the other: round numbers of the embedded source, None for any other.

    The embedded source is a closed world that grows by rounds: one that was searched has no more to say. A folder or a
    list is looked through, which is cheap, and searched where it holds something new. A site is searched on every pass.
    """
    from pipeline.search.search import search_is_done, search_videos

    config, store = settings.config, settings.store
    if config.source.kind == "arcade":
        for number in range(1, config.arcade.rounds + 1):
            if not search_is_done(store, config, number):
                yield number
        return
    if config.source.kind in {"folder", "urls"}:
        peek = Peek(store.root, store.storage_options)
        search_videos(peek, config, settings.home)
        if not peek.touched:
            return
    yield None


def labels_due(settings: Settings, path: Path, annotator: str) -> bool:
    """Tell whether a file holds labels that the store does not have; UserError where it cannot be imported."""
    from classifier.labels.sync import import_labels

    peek = Peek(settings.store.root, settings.store.storage_options)
    import_labels(peek, path, annotator, settings.config)
    return peek.touched


@dataclass(frozen=True)
class Due:
    """The batches with something to do, as of one moment."""

    batches: dict[str, str]
    """Batch -> a text that changes with every attempt at it: two requests with the same one ask for the same work."""
    cuts: frozenset[str]
    """Those of them that hold a downloaded video without clips: they can go on where downloads cannot."""
    next_at: datetime | None
    """When something that is not due now will be: a retry, or the end of a site's rest."""


def collect_due(store: Store, config: Config, now: datetime) -> Due:
    """Return the batches with something to download or to cut, in order.

    Counts by column: no Python object per video, so that a store of a million videos is asked within seconds. A video
    whose site rests is not due, and neither are videos of another source than the configured one.
    """
    from pipeline.download.circuit_breaker import breakers, resting
    from pipeline.download.ledger import due_rows, fold_all, uncut_rows

    videos = fold_all(store)
    spec = clip_spec(config.clips)
    downloads = set(unique(due_rows(store, config, videos, now)["batch"]))
    # a dropped file that another clip format asks for is downloaded again first
    cuts = frozenset(unique(uncut_rows(store, config, videos.filter(pc.invert(videos["dropped"])))["batch"]))
    sums = videos.group_by("batch").aggregate([("attempts", "sum")])
    tried = dict(zip(sums["batch"].to_pylist(), sums["attempts_sum"].to_pylist(), strict=True))
    due = {batch: f"{tried[batch]}-{spec}{'' if batch in downloads else '-cut'}" for batch in sorted(downloads | cuts)}
    rests = resting(known := breakers(store), known, now)
    return Due(due, cuts, _next_at(rows_with(videos, "source", config.source.kind), rests, now))


def _next_at(mine: pa.Table, rests: Mapping[str, datetime], now: datetime) -> datetime | None:
    """Return the earliest time after now at which a pending video of the configured source may be tried."""
    waiting = rows_with(mine, "state", "pending")
    times = waiting["next_try_at"]
    later = times.filter(pc.fill_null(pc.greater(times, pa.scalar(now, times.type)), False))
    found = [pc.min(later).as_py(), *(rests.values() if len(waiting) else ())]
    return min([time for time in found if time is not None], default=None)


def waiting_videos(settings: Settings) -> tuple[int, datetime | None]:
    """Return how many videos of the configured source are pending, and when the first may be tried (None: at once)."""
    from pipeline.download.circuit_breaker import breakers, resting
    from pipeline.download.ledger import fold_all

    now = datetime.now(UTC)
    mine = rows_with(fold_all(settings.store), "source", settings.config.source.kind)
    rests = resting(known := breakers(settings.store), known, now)
    return len(rows_with(mine, "state", "pending")), _next_at(mine, rests, now)


def unscored_batches(settings: Settings) -> list[str]:
    """Return the batches that hold a clip without a score of the current model."""
    from classifier.decision.scoring import batch_is_scored
    from pipeline.search.search import batches

    return [batch for batch in batches(settings.store) if not batch_is_scored(settings.store, batch)]


def is_due(asset: str, settings: Settings) -> bool:
    """Tell whether a global asset has something to do."""
    return _DUE[asset](settings)


def _duplicates(settings: Settings) -> bool:
    from pipeline.clips.duplicates import duplicates_are_current

    return not duplicates_are_current(settings.store, settings.config)


def _queue(settings: Settings) -> bool:
    from classifier.labels.queue import queue_is_current

    return not queue_is_current(settings.store, settings.config)


def _labels(settings: Settings) -> bool:
    from classifier.labels.sync import labels_are_current

    return not labels_are_current(settings.store, settings.home, settings.config)


def _classifier(settings: Settings) -> bool:
    from classifier.training.train import classifier_is_current

    return not classifier_is_current(settings.store, settings.config)


def _decision(settings: Settings) -> bool:
    from classifier.decision.decide import decision_is_current

    return not decision_is_current(settings.store, settings.config)


def _shards(settings: Settings) -> bool:
    from pipeline.shards.write import shards_are_current

    return not shards_are_current(settings.store, settings.config)


def _tokenizer(settings: Settings) -> bool:
    from models.training.train import tokenizer_is_current

    return not tokenizer_is_current(settings.store, settings.config)


def _world(settings: Settings) -> bool:
    from models.training.train import world_model_is_current

    return not world_model_is_current(settings.store, settings.config)


def _evaluation(settings: Settings) -> bool:
    from models.evaluation.evaluate import evaluation_is_current

    return not evaluation_is_current(settings.store, settings.config)


def _playable(settings: Settings) -> bool:
    world, tried = newest_model(settings.store, "world_model"), newest_model(settings.store, "playable_world")
    return world is not None and (tried is None or tried.inputs.get("world_model") != world.model_id)


def _ablation(settings: Settings) -> bool:
    return True


_DUE: dict[str, Callable[[Settings], bool]] = {
    "near_duplicates": _duplicates,
    "label_queue": _queue,
    "quality_labels": _labels,
    "quality_classifier": _classifier,
    "curated_clips": _decision,
    "training_shards": _shards,
    "video_tokenizer": _tokenizer,
    "world_model": _world,
    "world_evaluation": _evaluation,
    "playable_world": _playable,
    "curation_ablation": _ablation,
}


def has_clips(store: Store, config: Config) -> bool:
    """Tell whether any clip was cut at all."""
    where = (pc.field("clip_spec") == clip_spec(config.clips)) & (pc.field("num_clips") > 0)
    return any(len(rows) for rows in store.scan("clippings", ["video_id"], where))
