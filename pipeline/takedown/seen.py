"""Tell which models had seen the clips of videos, and which was the last that had not.

A model is taken to have seen a clip that was in the train split of its shards, or what it was built on had: its
tokenizer, or the model that its weights began with. A classifier names the rated clips that it learned from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.model_ids import CLASSIFIER, EVALUATION, PLAYABLE, TOKENIZER, WORLD
from pipeline.storage.models_table import ModelRecord, sound_models
from pipeline.storage.run_file import NAME, read_run
from pipeline.storage.store import Store
from pipeline.takedown.mentions import Mentions

How = Literal["trained", "measured", "built", "unknown"]
"""`trained` on a clip, `measured` with one, `built` on a model that was trained on one, or `unknown`: nothing is left
that says what its shards held."""


@dataclass(frozen=True)
class SeenBy:
    """A model that had seen a clip, or may have."""

    model_id: str
    kind: str
    how: How
    shards_version: str | None


@dataclass(frozen=True)
class Models:
    """The models of a store by what they had seen of some videos."""

    seen: list[SeenBy]
    unfinished: list[str]
    """Folders of checkpoints of runs that are not published and had seen a clip, or may have."""
    last_unseen: dict[str, str]
    """Kind -> id of the newest model that had seen none, of those that have weights."""


def models_that_saw(
    store: Store, mentions: Mentions, versions: Mapping[str, Collection[str]], known: Collection[str]
) -> Models:
    """Return the models that had seen a clip of the videos.

    Args:
        store: the store.
        mentions: the videos.
        versions: version of the shards that held a clip of them -> splits that did.
        known: the versions of which it is known what they held.
    """
    found: dict[str, SeenBy] = {}
    unseen: dict[str, str] = {}
    for record in sound_models(store)[0]:
        how = _how(store, record, mentions, versions, known, found)
        if how is not None:
            found[record.model_id] = SeenBy(record.model_id, record.kind, how, record.shards_version)
        elif record.kind in (CLASSIFIER, TOKENIZER, WORLD):
            unseen[record.kind] = record.model_id  # the oldest come first
    return Models(list(found.values()), _unfinished(store, versions, known, found), unseen)


def _how(
    store: Store,
    record: ModelRecord,
    mentions: Mentions,
    versions: Mapping[str, Collection[str]],
    known: Collection[str],
    found: Mapping[str, SeenBy],
) -> How | None:
    if record.kind == CLASSIFIER:
        return "trained" if _names_clips(store, record, mentions) else None
    if record.kind in (EVALUATION, PLAYABLE):
        splits = versions.get(record.shards_version or "", ())
        if record.kind == EVALUATION and {"val", "test"} & set(splits):
            return "measured"
        return "built" if _is_built_on(record, found) else None
    splits = versions.get(record.shards_version or "", ())
    if "train" in splits:
        return "trained"
    if _is_built_on(record, found):
        return "built"
    return "unknown" if record.shards_version and record.shards_version not in known else None


def _is_built_on(record: ModelRecord, found: Mapping[str, SeenBy]) -> bool:
    below = {record.inputs.get("tokenizer"), record.inputs.get("world_model")}
    below |= {origin.get("model") for origin in record.inputs.get("lineage", ()) if isinstance(origin, dict)}
    return any(isinstance(name, str) and name in found and found[name].how != "measured" for name in below)


def _names_clips(store: Store, record: ModelRecord, mentions: Mentions) -> bool:
    try:
        return mentions.in_text(store.read_blob(f"{record.path}/model.json").decode("utf-8", "replace"))
    except FileNotFoundError:
        return False


def _unfinished(
    store: Store, versions: Mapping[str, Collection[str]], known: Collection[str], found: Mapping[str, SeenBy]
) -> list[str]:
    folders = sorted({key.rpartition("/")[0] for key in store.list_blobs("models") if key.endswith(f"/{NAME}")})
    saw = []
    for folder in folders:
        about = read_run(store, folder)
        shards = None if about is None else about.inputs.get("shards")
        trained = shards not in known or "train" in versions.get(str(shards), ())
        if about is None or trained or about.inputs.get("tokenizer") in found:
            saw.append(folder)
    return saw
