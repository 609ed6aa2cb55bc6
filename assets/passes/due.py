"""Which searches and which global assets have something to do, read from the store before a run is launched.

Only reads: a pass that finds nothing due launches nothing and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from assets.passes.dry_run import DryRunStore
from assets.settings import Settings
from pipeline.model_choice import holds_floor, is_trained, models_in_use
from pipeline.model_ids import TOKENIZER, WORLD


def rounds_due(settings: Settings) -> Iterator[int | None]:
    """Yield the searches to make, one after the other: round numbers of the embedded source, None for any other.

    The embedded source grows by rounds, and a round that was searched is never searched again. A folder or a list is
    searched where a dry run, which is cheap, finds something new, or where actions that were dropped before lie
    beside fetched videos. A site is searched on every pass.
    """
    from pipeline.inspect.dropped_actions import dropped_actions
    from pipeline.job import Job
    from pipeline.search.records import search_is_done
    from pipeline.search.search import search_videos

    config, store = settings.config, settings.store
    if config.source.kind == "arcade":
        for number in range(1, config.arcade.rounds + 1):
            if not search_is_done(store, config, number):
                yield number
        return
    if config.source.kind in {"folder", "recipe", "urls"}:
        dry_run = DryRunStore(store.root, store.storage_options)
        search_videos(Job(dry_run, config, settings.home))
        if not dry_run.touched and not dropped_actions(store, config):
            return
    yield None


def labels_due(settings: Settings, path: Path, annotator: str) -> bool:
    """Return whether a file holds labels that the store does not have; UserError where it cannot be imported."""
    from classifier.labels.import_file import import_labels

    dry_run = DryRunStore(settings.store.root, settings.store.storage_options)
    import_labels(dry_run, path, annotator, settings.config)
    return dry_run.touched


def is_due(asset: str, settings: Settings) -> bool:
    """Return whether a global asset has something to do."""
    return _DUE[asset](settings)


def _duplicates(settings: Settings) -> bool:
    from pipeline.clips.duplicates import duplicates_are_current

    return not duplicates_are_current(settings.store, settings.config)


def _queue(settings: Settings) -> bool:
    from classifier.labels.queue import queue_is_current

    # choices by score are those of the decision before: the page refreshes them when it starts
    return not queue_is_current(settings.store, settings.config, of_models=False)


def _labels(settings: Settings) -> bool:
    from classifier.labels.sync import labels_are_current

    return not labels_are_current(settings.job())


def _classifier(settings: Settings) -> bool:
    from classifier.training.train import classifier_is_current

    return not classifier_is_current(settings.store, settings.config)


def _decision(settings: Settings) -> bool:
    from classifier.decision.decide import decision_is_current

    return not decision_is_current(settings.store, settings.config)


def _audit(settings: Settings) -> bool:
    from classifier.audit.audit import audit_is_current

    return not audit_is_current(settings.store, settings.config)


def _shards(settings: Settings) -> bool:
    from pipeline.shards.write import shards_are_current

    return not shards_are_current(settings.store, settings.config)


def _tokenizer(settings: Settings) -> bool:
    # a changed floor trains nothing: the check is judged again from the row's figures; one that fails stays due
    store, config = settings.store, settings.config
    if not is_trained(store, config, TOKENIZER):
        return True
    row = models_in_use(store, config).tokenizer
    return row is not None and not holds_floor(row, config.tokenizer.min_psnr)


def _world(settings: Settings) -> bool:
    return not is_trained(settings.store, settings.config, WORLD)


def _tokens(settings: Settings) -> bool:
    from models.tokens.encode import tokens_are_current

    return not tokens_are_current(settings.store, settings.config)


def _evaluation(settings: Settings) -> bool:
    from models.evaluation.evaluate import evaluation_is_current

    return not evaluation_is_current(settings.store, settings.config)


def _playable(settings: Settings) -> bool:
    from models.play.packed.contents import packed_from

    used = models_in_use(settings.store, settings.config)
    if used.world is None:
        return False
    made_from = packed_from(settings.config, used.world, used.evaluation)
    return used.playable is None or used.playable.inputs.get("packed_from") != made_from


_DUE: dict[str, Callable[[Settings], bool]] = {
    "near_duplicates": _duplicates,
    "label_queue": _queue,
    "quality_labels": _labels,
    "quality_classifier": _classifier,
    "curated_clips": _decision,
    "training_shards": _shards,
    "curation_audit": _audit,
    "video_tokenizer": _tokenizer,
    "world_model": _world,
    "token_shards": _tokens,
    "world_evaluation": _evaluation,
    "playable_world": _playable,
}
