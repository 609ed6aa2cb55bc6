"""`lampworks bench world`: what settings of the demo's world cost and give, a row each."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assets.cli.bench_clips import processor
from pipeline.arcade.platformer import ACTIONS
from pipeline.config import Config, load_config, parse_overrides
from pipeline.errors import UserError

if TYPE_CHECKING:
    from models.bench.world import Row, Variant
    from models.evaluation.metric import Metric

_SECTIONS = ("tokenizer", "latent_actions", "dynamics", "training", "evaluation")
_STORED = ("start_from", "go_on")
# a comma may be part of a value, as in a list: it ends a setting where another one begins
_NEXT_SETTING = re.compile(r",\s*(?=[\w.]+\s*=)")
_AFTER = (1, 4, 8, 16, 30)


def add_options(bench: argparse.ArgumentParser) -> None:
    """Add the options that only `world` has."""
    bench.add_argument(
        "--variant",
        action="append",
        metavar="NAME:SETTINGS",
        help="of world: settings with a name, as 'wide:dynamics.stack.d_model=128,dynamics.stack.head_dim=32'; none "
        "after the colon are those of the preset demo; again for more (default: preset demo alone)",
    )
    bench.add_argument("--seed", type=int, default=0, metavar="N", help="of world: training.seed of all variants (0)")
    bench.add_argument(
        "--oracle", action="store_true", help="of world: a row more each, in which true actions lead the dynamics"
    )


def run_world(args: argparse.Namespace) -> int:
    """Train, measure and print."""
    if args.steps is not None and args.steps < 1:
        raise UserError(f"--steps = {args.steps}: must be at least 1")
    settings = parse_variants(args.variant or ["preset:"], args.seed, args.steps)
    from models.bench.world import LEVELS, Variant, bench_worlds
    from models.runtime.compute import choose_compute

    variants = [Variant(name, config) for name, config in settings.items()]
    for variant in variants:  # all of them before the first is trained
        choose_compute(variant.config.training)
        _check_length(variant, LEVELS.num_frames)
        if args.oracle:
            _check_true_actions(variant)
    many = len(variants) * (1 + args.oracle) > 1
    rows = bench_worlds(
        variants, LEVELS, oracle=args.oracle, on_progress=_print_progress, on_row=_print_row if many else None
    )
    if args.json:
        held_out, train = len(LEVELS.held_out), len(LEVELS.train)
        about = {"train": train, "held_out": held_out, "frames": LEVELS.num_frames, "processor": processor()}
        print(json.dumps({"levels": about, "rows": [row.as_json() for row in rows]}))
        return 0
    print(f"{len(LEVELS.train)} levels of {LEVELS.num_frames} frames to train on, {len(LEVELS.held_out)} held out")
    print(f"{rows[0].compute} ({processor()}), seed {args.seed}; in brackets 95 % by level\n")
    print(_table(rows, _COST))
    print()
    print(_table(rows, _CODES))
    print()
    print(_table(rows, _PLAY))
    return 0


def parse_variants(texts: Sequence[str], seed: int = 0, steps: int | None = None) -> dict[str, Config]:
    """Return the configuration of each variant by its name.

    Args:
        texts: as `no noise:latent_actions.latent_noise=0,dynamics.unseen_actions=0`; preset `demo` is changed by them.
        seed: `training.seed` where a variant has none of its own.
        steps: most steps of each training; None leaves them.

    Raises:
        UserError: a text has no name, a name comes twice, or a setting is none that a bench of worlds reads.
    """
    found: dict[str, Config] = {}
    for text in texts:
        name, colon, rest = (part.strip() for part in text.partition(":"))
        if not colon or not name or "=" in name or not name.isprintable():
            raise UserError(
                f"--variant {text!r}: begin with a name and a colon, as 'no noise:latent_actions.latent_noise=0'"
            )
        if name in found:
            raise UserError(f"--variant {text!r}: another one is named {name!r} too; give each a name of its own")
        values = parse_overrides(_NEXT_SETTING.split(rest)) if rest else {}
        _check_names(name, values)
        values["training"] = {"seed": seed, **values.get("training", {})}
        found[name] = _shortened(_read(name, values), steps)
    return found


def _check_names(name: str, values: Mapping[str, Any]) -> None:
    for section in values:
        if section not in _SECTIONS:
            hint = "; rollouts are sampled as `evaluation` says" if section == "play" else ""
            raise UserError(
                f"--variant {name}: {section} is no section that this bench reads{hint}: change settings of "
                f"{', '.join(_SECTIONS)}"
            )
        if not isinstance(values[section], dict):
            raise UserError(f"--variant {name}: {section} is a section: name one of its settings, as {section}.NAME=1")
    for field in _STORED:
        if values.get("training", {}).get(field):
            raise UserError(
                f"--variant {name}: training.{field} names a model of a root, and there is none: leave it out"
            )


def _read(name: str, values: dict[str, Any]) -> Config:
    try:
        return load_config(None, base="demo", **values)
    except UserError as exc:
        raise UserError(f"--variant {name}: {exc}") from exc


def _shortened(config: Config, steps: int | None) -> Config:
    if steps is None:
        return config
    tokenizer, lam, dynamics = config.tokenizer, config.latent_actions, config.dynamics
    return dataclasses.replace(
        config,
        tokenizer=dataclasses.replace(tokenizer, steps=min(steps, tokenizer.steps)),
        latent_actions=dataclasses.replace(lam, unquantized_steps=min(steps, lam.unquantized_steps)),
        dynamics=dataclasses.replace(dynamics, steps=min(steps, dynamics.steps)),
    )


def _check_length(variant: Variant, num_frames: int) -> None:
    """Raise a `UserError` where a window does not fit into a level's clip: before anything is trained."""
    settings, dynamics = variant.config.evaluation, variant.config.dynamics
    windows = {
        "tokenizer.window": variant.config.tokenizer.window,
        dynamics.drawn_by: dynamics.drawn_frames,
        "evaluation.horizon": settings.prompt_frames + settings.horizon,
        "evaluation.character_frames": settings.prompt_frames + settings.character_frames,
    }
    for field, length in windows.items():
        if length > num_frames:
            raise UserError(
                f"--variant {variant.name}: windows of {length} frames do not fit into the {num_frames} of a level: "
                f"lower {field}"
            )


def _check_true_actions(variant: Variant) -> None:
    """Raise a `UserError` where the codes of the LAM are too few or too short to stand for the true actions."""
    for field in ("num_actions", "latent_dim"):
        if getattr(variant.config.latent_actions, field) < len(ACTIONS):
            raise UserError(
                f"--variant {variant.name}: --oracle stands for {len(ACTIONS)} true actions: set "
                f"latent_actions.{field} to {len(ACTIONS)} or more"
            )


def _value(name: str, form: str = ".2f", *, interval: bool = False) -> Callable[[Row], str]:
    """Return what writes a figure of a row, with its interval where it has one and that is asked for."""

    def written(row: Row) -> str:
        metric: Metric = row.figures.get(name, {"value": None})
        if metric["value"] is None:
            return "-"
        low, high = metric.get("low"), metric.get("high")
        more = f" [{low:{form}}, {high:{form}}]" if interval and low is not None and high is not None else ""
        return f"{metric['value']:{form}}{more}"

    return written


def _name(row: Row) -> str:
    return f"{row.name}, true actions" if row.oracle else row.name


_MI, _JUMP = "latent_action_mutual_information", "latent_action_jump_information"
_Columns = Mapping[str, Callable[["Row"], str]]
_COST: _Columns = {
    "what it costs": _name,
    "tokenizer CPU-s": lambda row: f"{row.tokenizer_cpu_s:.0f}",
    "steps": lambda row: f"{row.tokenizer_steps:,}",
    "LAM alone CPU-s": lambda row: f"{row.lam_cpu_s:.0f}",
    "steps ": lambda row: f"{row.lam_steps:,}",
    "joint CPU-s": lambda row: f"{row.joint_cpu_s:.0f}",
    "steps  ": lambda row: f"{row.joint_steps:,}",
    "tokenizer dB": _value("tokenizer_psnr"),
    "codes": _value("tokenizer_codes", ".0f"),
}
_CODES: _Columns = {
    "what codes say, and tokens": _name,
    "actions, nat": _value(_MI, interval=True),
    "of": _value(f"{_MI}_of"),
    "jump, nat": _value(_JUMP, interval=True),
    "of ": _value(f"{_JUMP}_of"),
    "codes used": _value("codes_used", ".0f"),
    "next tokens right": _value("accuracy", ".3f"),
    "of those that change": _value("accuracy_changed", ".3f"),
}
_PLAY: _Columns = {
    "what stays in play": _name,
    **{f"character kept t{after}": _value(f"character_kept_t{after}", interval=True) for after in _AFTER},
    "held keys t30": _value("character_kept_held_t30", interval=True),
    "dB t1": _value("psnr_t1", ".1f"),
    "t4": _value("psnr_t4", ".1f"),
}


def _table(rows: Sequence[Row], columns: _Columns) -> str:
    """Return a table in Markdown, in columns of even width."""
    lines = [[title.strip() for title in columns]]
    lines += [[written(row).replace("|", "\\|") for written in columns.values()] for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    aligned = [
        "| "
        + " | ".join(f"{cell:{'<' if place == 0 else '>'}{widths[place]}}" for place, cell in enumerate(line))
        + " |"
        for line in lines
    ]
    ruler = "|" + "|".join("-" * (width + 1) + ("-" if place == 0 else ":") for place, width in enumerate(widths)) + "|"
    return "\n".join([aligned[0], ruler, *aligned[1:]])


def _print_row(row: Row) -> None:
    """Print what one variant gave: a run that is ended before its tables has then not lost it."""
    _print_progress(f"{_table([row], _CODES)}\n\n{_table([row], _PLAY)}\n")


def _print_progress(text: str) -> None:
    print(text, file=sys.stderr)
