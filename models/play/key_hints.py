"""What the play page says about a world: the effect of each key, and how well the keys control it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from models.evaluation.action_keys import Effect, all_chords, own_chords
from pipeline.bootstrap import stored_ends
from pipeline.config import Config
from pipeline.model_choice import models_in_use
from pipeline.storage.store import Store


@dataclass(frozen=True)
class KeyHint:
    """The measured effect of one latent action."""

    label: str = ""
    """For example `rises, runs right`."""
    symbol: str = ""
    """An arrow, or another sign."""
    right: float = 0.0
    """Mean movement of the view to the right, in pixels per frame."""
    down: float = 0.0
    """Mean movement of the view downwards, in pixels per frame."""
    meant: str = ""
    """The most frequent true action behind it, with its share, e.g. `90% right`; empty where unknown."""
    runs: float = 0.0
    """Pixels per frame by which what moves on its own runs to the right."""
    rises: float = 0.0
    """Pixels per frame by which it rises."""
    twin_of: int | None = None
    """The code that has the same effect and gets the keys; None for a code that is nobody's twin."""
    effect_of_its_own: bool | None = None
    """Whether no other code before it does the same, steadily; None where that was not measured."""
    group: int | None = None
    """Codes of equal effect have the same number."""
    keys: tuple[str, ...] = ()
    """Chords of `models.evaluation.action_keys` that ask for exactly this effect."""


@dataclass(frozen=True)
class WorldHints:
    """The hints of a world's keys, and a sentence on how well they control it."""

    note: str
    keys: Mapping[int, KeyHint] = field(default_factory=dict)
    """By latent action; those without a hint are left out."""

    @property
    def chords(self) -> dict[str, int]:
        """Return the latent action that each chord plays; see `models.evaluation.action_keys.all_chords`."""
        return all_chords([_effect(code, hint) for code, hint in self.keys.items()])

    @property
    def groups(self) -> list[list[int]]:
        """Return the codes of equal effect together, each group's own code first; empty where nothing was measured."""
        found: dict[int, list[int]] = {}
        for code, hint in sorted(self.keys.items(), key=lambda item: (item[1].twin_of is not None, item[0])):
            if hint.group is not None:
                found.setdefault(hint.group, []).append(code)
        return [found[group] for group in sorted(found)]


def hints_of(store: Store, config: Config, model_id: str) -> WorldHints:
    """Return what the evaluation of a world measured; no hints where it has none."""
    evaluation = models_in_use(store, config, model_id).evaluation
    return hints_from(None if evaluation is None else evaluation.metrics)


def hints_from(metrics: Mapping[str, Any] | None) -> WorldHints:
    """Return the hints in the metrics of an evaluation; None stands for no evaluation."""
    if metrics is None:
        return WorldHints("This world has not been evaluated yet, so the effect of its keys is unknown.")
    return WorldHints(control_note(metrics), key_hints(metrics["latent_actions"]))


def key_hints(latent_actions: Sequence[Mapping[str, Any]]) -> dict[int, KeyHint]:
    """Return the hints of an evaluation's `latent_actions`; evaluations of earlier versions lack some of the fields."""
    hints = {int(action["code"]): _key_hint(action) for action in latent_actions}
    keys = own_chords([_effect(code, hint) for code, hint in hints.items()])
    return {code: replace(hint, keys=keys.get(code, ())) for code, hint in hints.items()}


def _key_hint(action: Mapping[str, Any]) -> KeyHint:
    return KeyHint(
        label=action["label"],
        symbol=action["symbol"],
        right=action["right"],
        down=action["down"],
        meant=_most_frequent(action.get("true_actions") or {}),
        runs=action.get("runs", 0.0),
        rises=action.get("rises", 0.0),
        twin_of=action.get("twin_of"),
        effect_of_its_own=action.get("effect_of_its_own"),
        group=action.get("group"),
    )


def _effect(code: int, hint: KeyHint) -> Effect:
    strength = max(abs(hint.right), abs(hint.down), abs(hint.runs), abs(hint.rises))
    return Effect(code, hint.symbol, strength, twin=hint.twin_of is not None)


def _most_frequent(true_actions: Mapping[str, float]) -> str:
    name, share = max(true_actions.items(), key=lambda item: item[1], default=("", 0.0))
    return f"{share:.0%} {name}" if share >= 0.5 else ""


def control_note(metrics: Mapping[str, Any]) -> str:
    """Return whether keys control a world, by the metrics of its evaluation."""
    control = metrics["delta_t_psnr_permuted"]
    if control["value"] is None:
        return "Whether the keys control this world is unknown: nothing moves in the held-out videos."
    low, high = stored_ends(control)
    ends = "" if low is None else f" [{low:.1f}, {high:.1f}]"
    many = "video" if control["num_sources"] == 1 else "videos"
    measured = f"{control['value']:.1f} dB{ends} on {control['num_sources']} held-out {many}"
    if low is None:
        return f"Whether the keys control this world is unknown: delta-t PSNR, permuted actions, {measured}: too few."
    if metrics["gates"]["delta_t_psnr_permuted"]["passed"]:
        return f"The keys control this world: delta-t PSNR, permuted actions, is {measured}."
    return f"The keys do not control this world well yet: delta-t PSNR, permuted actions, is {measured}."
