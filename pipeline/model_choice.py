"""Say which published models the configuration stands for.

    used = models_in_use(store, config)
    used.world            # the row of the configured world, None where it is not trained yet
    used.notes            # what a reader must be told, e.g. that it was trained on older shards

The configured model is the row of equal settings and steps (`pipeline.model_ids`), on the present shards, else on older
ones. Whatever evaluates, plays, reports or exports a model asks here which one it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import Config, fingerprint
from pipeline.errors import UserError
from pipeline.feature_nets import usable
from pipeline.model_ids import (
    CLASSIFIER,
    EVALUATION,
    EVALUATION_METHOD,
    PLAYABLE,
    TOKENIZER,
    WORLD,
    TrainedKind,
    playable_id,
    settings_id,
    steps_of,
)
from pipeline.model_start import at_random, find_kind, is_start_of, named_start
from pipeline.shards.read import current_shards
from pipeline.storage.models_table import ModelRecord, all_models, replace_model
from pipeline.storage.store import Store


@dataclass(frozen=True)
class ModelsInUse:
    """The rows that a configuration stands for, or that belong to a model named by its id; None where there is none."""

    classifier: ModelRecord | None
    """The newest."""
    tokenizer: ModelRecord | None
    world: ModelRecord | None
    evaluation: ModelRecord | None
    """Of this world: the one of the present settings and shards, else the newest."""
    playable: ModelRecord | None
    """The check that this world can be played."""
    evaluation_is_current: bool
    """Whether the evaluation is of the present settings and shards."""
    notes: tuple[str, ...] = ()
    """Sentences about what is not as configured."""

    def by_kind(self) -> dict[str, ModelRecord]:
        """Return the rows that there are, by their kind."""
        rows = (self.classifier, self.tokenizer, self.world, self.evaluation, self.playable)
        return {row.kind: row for row in rows if row is not None}


def models_in_use(store: Store, config: Config, model: str | None = None) -> ModelsInUse:
    """Return the models that a configuration stands for, or those of another world.

    Args:
        store: holds the table `models`.
        config: the settings.
        model: id of a world, or the unique start of one, to take in place of the configured world.

    Raises:
        UserError: no world has this id, or several begin with it.
    """
    rows = all_models(store)
    shards = current_shards(store)
    notes: list[str] = []
    if model is None:
        tokenizer = configured(store, rows, config, TOKENIZER, shards)
        world = configured(store, rows, config, WORLD, shards)
        if not brings_tokenizer(store, rows, config):
            notes += _note(rows, TOKENIZER, tokenizer, shards)
        notes += _note(rows, WORLD, world, shards)
    else:
        world = pick_model(rows, model, WORLD)
        tokenizer = _by_id(rows, TOKENIZER, str(world.inputs.get("tokenizer")))
    evaluation, current = _evaluation(store, config, rows, world)
    return ModelsInUse(
        classifier=next((row for row in reversed(rows) if row.kind == CLASSIFIER), None),
        tokenizer=tokenizer,
        world=world,
        evaluation=evaluation,
        playable=None if world is None else _by_id(rows, PLAYABLE, playable_id(world.model_id)),
        evaluation_is_current=current,
        notes=tuple(notes),
    )


def configured(
    store: Store, rows: Sequence[ModelRecord], config: Config, kind: TrainedKind, shards: str | None
) -> ModelRecord | None:
    """Return the row of a kind that a configuration stands for: equal settings and steps, and the named start.

    Of several, one that was trained on the present shards wins, then the newest. A world of the present shards needs
    the configured tokenizer too. A world that training begins with brings its tokenizer.

    Args:
        store: holds the runs.
        rows: all rows, the oldest first.
        config: the settings.
        kind: tokenizer or world.
        shards: version of the present shards.
    """
    wanted, steps = settings_id(kind, config), steps_of(kind, config)
    if named_start(config) is not None:
        begins, tokenizer = find_kind(store, rows, config)
        if begins is None:
            return None
        if kind == TOKENIZER and begins == WORLD:
            return _by_id(rows, TOKENIZER, tokenizer)
    own = config if named_start(config) is None or begins == kind else at_random(config)
    same = [
        row
        for row in rows
        if row.kind == kind and row.inputs.get("settings") == wanted and row.steps == steps and is_start_of(row, own)
    ]
    if kind == WORLD:
        below = configured(store, rows, config, TOKENIZER, shards)
        fitting = [row for row in same if below is not None and row.inputs.get("tokenizer") == below.model_id]
    else:
        fitting = same
    present = [row for row in fitting if is_of_shards(row, shards)]
    return next(reversed(present or same), None)


def is_trained(store: Store, config: Config, kind: TrainedKind) -> bool:
    """Tell whether the configured model of the present shards (and, of a world, the configured tokenizer) is there."""
    rows, shards = all_models(store), current_shards(store)
    found = configured(store, rows, config, kind, shards)
    if kind == TOKENIZER and brings_tokenizer(store, rows, config):
        return found is not None
    if kind == TOKENIZER or found is None:
        return is_of_shards(found, shards)
    below = configured(store, rows, config, TOKENIZER, shards)
    return is_of_shards(found, shards) and below is not None and found.inputs.get("tokenizer") == below.model_id


def brings_tokenizer(store: Store, rows: Sequence[ModelRecord], config: Config) -> bool:
    """Tell whether training begins with a world, whose tokenizer is then used as it is."""
    return named_start(config) is not None and find_kind(store, rows, config)[0] == WORLD


def is_of_shards(row: ModelRecord | None, shards: str | None) -> bool:
    """Tell whether there is a row, and it was trained on these shards."""
    return row is not None and row.inputs.get("shards") == shards


def _note(rows: Sequence[ModelRecord], kind: str, row: ModelRecord | None, shards: str | None) -> list[str]:
    """Return what a reader must be told of a configured model: that it is of older shards, or not trained yet."""
    name = kind.replace("_", " ")
    if row is not None:
        older = f"{name} {row.model_id} was trained on older shards ({row.shards_version})"
        return [] if is_of_shards(row, shards) else [f"{older}; `lampworks run` trains it again"]
    other = next((found for found in reversed(rows) if found.kind == kind), None)
    if other is None:
        return []
    return [f"no {name} of the present settings; the newest of others is {other.model_id} (`lampworks models`)"]


def _by_id(rows: Sequence[ModelRecord], kind: str, name: str) -> ModelRecord | None:
    return next((row for row in reversed(rows) if row.kind == kind and row.model_id == name), None)


def judged_by(store: Store, row: ModelRecord, floor: float) -> ModelRecord:
    """Return a tokenizer's row with the floor (dB) that it is judged by now; where that changed, it is written too."""
    if row.config.get("tokenizer", {}).get("min_psnr") == floor:
        return row
    changed = dataclasses.replace(
        row, config={**row.config, "tokenizer": {**row.config["tokenizer"], "min_psnr": floor}}
    )
    replace_model(store, changed)
    return changed


def holds_floor(row: ModelRecord, floor: float) -> bool:
    """Tell whether a tokenizer was judged by this floor (dB) and reaches it."""
    judged = row.config.get("tokenizer", {}).get("min_psnr")
    psnr = row.metrics.get("psnr")
    return judged == floor and isinstance(psnr, int | float) and psnr >= floor


# -- named models -------------------------------------------------------------------------------------------------


def pick_model(rows: Sequence[ModelRecord], name: str, kind: str | None = None) -> ModelRecord:
    """Return the row whose id is a name or begins with it; an id in full wins over longer ones that begin with it.

    Args:
        rows: the rows to choose from.
        name: an id, or the unique start of one.
        kind: the kind that is asked for; None: any that is trained.

    Raises:
        UserError: none begins with it, several do, or the one is of another kind.
    """
    trained = (TOKENIZER, WORLD)
    found = {row.model_id: row for row in rows if row.kind in trained and row.model_id.startswith(name) and name}
    of_kind = {key: row for key, row in found.items() if kind in (None, row.kind)}
    if name in of_kind:
        return of_kind[name]
    if len(of_kind) == 1:
        return next(iter(of_kind.values()))
    what = "model" if kind is None else kind.replace("_", " ")
    if of_kind:
        raise UserError(f"{what} {name!r}: several ids begin with it ({', '.join(sorted(of_kind))}): give more of one.")
    if found:
        other = next(iter(found.values()))
        raise UserError(
            f"{what} {name!r}: {other.model_id} is a {other.kind.replace('_', ' ')}; `lampworks models` lists the ids."
        )
    raise UserError(f"no {what} has an id that begins with {name!r}: `lampworks models` lists the ids.")


def require_world(store: Store, config: Config, model: str | None = None) -> ModelRecord:
    """Return the row of the configured world, or of the one with this id.

    Raises:
        UserError: it is not there; the sentence says how to train it, and how to use the newest other one.
    """
    rows = all_models(store)
    if model is not None:
        return pick_model(rows, model, WORLD)
    found = configured(store, rows, config, WORLD, current_shards(store))
    if found is not None:
        return found
    other = next((row for row in reversed(rows) if row.kind == WORLD), None)
    if other is None:
        raise UserError(f"{store.root} has no world model yet: materialize world_model first (`lampworks run`).")
    raise UserError(
        f"{store.root} has no world model of the present settings: train it (`lampworks run`), or use the newest of "
        f"other settings with `--model {other.model_id}` (`lampworks models` lists all)."
    )


# -- evaluations --------------------------------------------------------------------------------------------------


def evaluation_inputs(store: Store, config: Config, world: ModelRecord, below: ModelRecord | None) -> dict[str, Any]:
    """Return everything that an evaluation of a world depends on; its fingerprint is the evaluation's id.

    Args:
        store: its shards and takedowns count.
        config: how it is measured.
        world: what is measured.
        below: the world's tokenizer, which says how large the baseline's codebook is.
    """
    tokenizer = {**dataclasses.asdict(config.tokenizer), **(below.config.get("tokenizer", {}) if below else {})}
    return {
        "world_model": world.model_id,
        "shards": current_shards(store),
        "settings": dataclasses.asdict(config.evaluation),
        "codebook": [tokenizer["patch"], tokenizer["codebook_size"]],
        # another network, or one that was installed meanwhile, is another set of figures
        "feature_nets": usable(config.evaluation.feature_nets),
        "taken_down": store.version("takedowns"),
        "method": EVALUATION_METHOD,
    }


def _evaluation(
    store: Store, config: Config, rows: Sequence[ModelRecord], world: ModelRecord | None
) -> tuple[ModelRecord | None, bool]:
    """Return the evaluation to show of a world, and whether it is of the present settings and shards."""
    if world is None:
        return None, False
    below = _by_id(rows, TOKENIZER, str(world.inputs.get("tokenizer")))
    exact = _by_id(rows, EVALUATION, fingerprint(evaluation_inputs(store, config, world, below)))
    if exact is not None:
        return exact, True
    own = [row for row in rows if row.kind == EVALUATION and row.inputs.get("world_model") == world.model_id]
    return next(reversed(own), None), False
