"""Begin a training where `training.start_from` or `training.go_on` says, if its networks are the same.

Settings of three kinds: those that make other networks (sizes, attention, quantizer, windows) must be equal; those that
only say how weights are initialized no longer matter; the others (rates, schedule, batch, steps, weights of losses,
masks and noise) may change, and the row says which did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from models.registry import Curve, load_networks, parse_section
from models.runtime.weights import WeightsError
from models.training.average import AveragedTraining, without_averages
from models.training.checkpoint import Checkpoints
from models.training.finite import sections_of
from models.training.loop import Trainable
from pipeline.config import Config
from pipeline.config.world import DynamicsConfig, LatentActionConfig, TokenizerConfig
from pipeline.errors import UserError
from pipeline.model_ids import TOKENIZER, WORLD, TrainedKind, steps_of
from pipeline.model_start import Start, find_start
from pipeline.storage.models_table import all_models
from pipeline.storage.store import Store

Changes = dict[str, tuple[Any, Any]]
"""By dotted name: the value before, and the present one."""

_SECTIONS: dict[str, Callable[[Mapping[str, Any], str], TokenizerConfig | LatentActionConfig | DynamicsConfig]] = {
    "tokenizer": lambda values, name: parse_section(TokenizerConfig, values, name),
    "latent_actions": lambda values, name: parse_section(LatentActionConfig, values, name),
    "dynamics": lambda values, name: parse_section(DynamicsConfig, values, name),
}
_LOSSES = ("reconstruction_weight", "commitment")
_MAY_CHANGE = {
    "tokenizer": {"optimizer", "batch", "steps", "min_psnr", "start", "start_coverage", *_LOSSES},
    "latent_actions": {
        "optimizer", "joint_lr_scale", "start", "pca_start", "motion_weight", "loss_margin", "latent_noise",
        "update_every", *_LOSSES,
    },
    "dynamics": {
        "optimizer", "batch", "window_stride", "steps", "min_mask_rate", "full_mask_share", "clean_prefix_share",
        "token_noise", "own_frame_share", "own_frames", "recalled_share", "recalled_frames", "changed_weight",
        "embedding_start",
    },
}  # fmt: skip
# they make other tensors where they become 0 or cease to be
_SWITCHES = ("ema_decay", "restart_below", "unseen_actions")
_STATE = ".optimizer.algorithm"
_SHARED = ("seed", "dtype", "windows_per_clip", "mixed_clips", "shuffle_clips", "ema_decay")


def start_for(store: Store, config: Config, kind: TrainedKind) -> Start | None:
    """Return what a kind of model begins with; None at random.

    Raises:
        UserError: it cannot be begun with.
    """
    start = find_start(store, all_models(store), config)
    if start is not None and kind == TOKENIZER and start.kind == WORLD:
        raise UserError(
            f"training.{start.how} = {start.name!r}: the tokenizer {start.tokenizer} of this world is not among the "
            "models any more; begin with another, or at random (empty)."
        )
    return start if start is not None and start.kind == kind else None


def check_start(config: Config, start: Start) -> Changes:
    """Return the settings that differ between a start and a configuration.

    Raises:
        UserError: some of them make other networks; each is named.
    """
    structure: Changes = {}
    changes: Changes = {}
    for section in sections_of(start.kind):
        before = asdict(_SECTIONS[section](start.settings[section], start.name))
        present = asdict(getattr(config, section))
        for name, old, new in differences(before, present):
            free = _may_change(section, name.split(".")[0], before, present)
            free |= start.how == "start_from" and (section, name) == ("latent_actions", "unquantized_steps")
            (changes if free else structure)[f"{section}.{name}"] = (old, new)
    for name in _SHARED:
        old, new = start.settings.get("training", {}).get(name), getattr(config.training, name)
        if old is not None and old != new:
            changes[f"training.{name}"] = (old, new)
    other_state = [name for name in changes if name.endswith(_STATE)] if start.how == "go_on" else []
    if other_state and not structure:
        named = _named({name: changes[name] for name in other_state})
        raise UserError(
            f"training.go_on = {start.name!r}: the optimizer's state is that of another algorithm ({named}): set it as "
            "before, or begin with the weights alone, by training.start_from in place of training.go_on."
        )
    if structure:
        named = _named(structure)
        raise UserError(
            f"training.{start.how} = {start.name!r}: the configuration asks for other networks ({named}): set "
            f"{'it' if len(structure) == 1 else 'them'} as before, or set training.{start.how} = '' to begin at random."
        )
    return changes


def _named(changes: Changes) -> str:
    return ", ".join(f"{name} = {new!r} instead of {old!r}" for name, (old, new) in sorted(changes.items()))


def begin(store: Store, config: Config, start: Start, training: Trainable) -> tuple[int, Curve]:
    """Load a start into a fresh training; return the step that it begins at, and the curve up to it.

    Raises:
        UserError: the weights do not fit, the checkpoint is damaged, or all steps are taken already.
    """
    if start.how == "start_from":
        assert start.record is not None
        load_networks(store, start.record, training.networks())
        return 0, []
    check_steps(config, start)
    checkpoints = Checkpoints(store, start.folder)
    found = checkpoints.read(start.step)
    try:
        averaged = isinstance(training, AveragedTraining)
        training.load(found.tensors if averaged else without_averages(found.tensors))
    except WeightsError as exc:
        raise checkpoints.unfit(start.step, exc) from exc
    # in another order of windows, or on another set, it goes on with the next epoch
    training.load_about({"loader": found.about.get("loader")})
    return found.step, found.about["curve"]


def check_steps(config: Config, start: Start) -> None:
    """Raise a UserError where a run is to go on that has taken all the steps which a configuration asks for."""
    steps, total = _steps_setting(start.kind), steps_of(start.kind, config)
    if start.how == "go_on" and start.step >= total:
        raise UserError(
            f"training.go_on = {start.name!r}: it has taken {start.step} steps, and the configuration asks for {total} "
            f"in all: raise {steps} (now {_value(config, steps)})."
        )


def check_frame(start: Start, height: int, width: int) -> None:
    """Raise a UserError unless a tokenizer was trained on frames of this size."""
    values = {} if start.record is None else start.record.config
    before = (values.get("height", height), values.get("width", width))
    if start.kind == TOKENIZER and before != (height, width):
        raise _other_frames(f"training.{start.how} = {start.name!r}: it", before, (height, width), start.how)


def check_tokenizer_frame(tokenizer: str, before: tuple[int, int], size: tuple[int, int]) -> None:
    """Raise a UserError unless a world's tokenizer was trained on frames of the size that the shards have.

    Args:
        tokenizer: its id.
        before: rows and columns of pixels of its frames.
        size: of the frames of the training shards.
    """
    if before != size:
        raise _other_frames(f"the tokenizer {tokenizer} of this world", before, size, "start_from")


def _other_frames(what: str, before: tuple[int, int], size: tuple[int, int], how: str) -> UserError:
    return UserError(
        f"{what} was trained on frames of {before[1]}x{before[0]} pixels, and the training shards have "
        f"{size[1]}x{size[0]}: set clips.width and clips.height as before and run the stages from the clips on, or set "
        f"training.{how} = '' to begin at random."
    )


def sentence(start: Start, changes: Changes, total: int) -> str:
    """Return what a person is told of a start."""
    what = f"{start.kind} {start.name}"
    if start.how == "start_from":
        first = f"starts at step 0 of {total} with the weights of {what} (its step {start.step}), a fresh optimizer"
    else:
        first = f"goes on from {what} at step {start.step} of {total}, with its optimizer"
    changed = ", ".join(f"{name} {old!r} -> {new!r}" for name, (old, new) in sorted(changes.items()))
    return f"{first}; changed: {changed}" if changed else first


def _steps_setting(kind: str) -> str:
    return "tokenizer.steps" if kind == TOKENIZER else "dynamics.steps"


def _value(config: Config, name: str) -> Any:
    section, field = name.split(".")
    return getattr(getattr(config, section), field)


def _may_change(section: str, field: str, before: Mapping[str, Any], present: Mapping[str, Any]) -> bool:
    if field == "restart_below" and before.get("ema_decay") and present.get("ema_decay"):
        return True
    if field in _SWITCHES:
        return bool(before[field]) == bool(present[field])
    return field in _MAY_CHANGE[section]


def differences(before: Mapping[str, Any], present: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield the dotted name of each setting that differs, its value before and now; of those that both have."""
    for name, old in before.items():
        if name not in present:
            continue
        new = present[name]
        if isinstance(old, Mapping):
            yield from ((f"{name}.{inner}", was, now) for inner, was, now in differences(old, new))
        elif old != new and (not isinstance(old, list | tuple) or list(old) != list(new)):
            yield name, old, new
