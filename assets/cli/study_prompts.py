"""`lampworks study prompts`: what a world makes of sketches, photo-like pictures and other games' frames."""

from __future__ import annotations

import argparse
import base64
import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.cli.options import Parsers, add_model_option, add_study_options, used_settings
from assets.report.study import Study, Table, section, write_study
from pipeline.errors import UserError
from pipeline.outside import shown_text
from pipeline.progress import notify

if TYPE_CHECKING:
    from models.evaluation.metric import Metric
    from models.world.world import WorldModel
    from pipeline.job import Job

NAME, _VERSION = "prompts", 1
_SHOWN = 2  # pictures of a kind on the sheet
_MOST_KEYS_SHOWN = 4
Pictures = tuple[list[np.ndarray], dict[str, str]]
"""Pictures of a kind, and why files that were to give some are left out."""
Kinds = dict[str, Callable[[], Pictures]]


def add_study(studies: Parsers) -> None:
    """Add `study prompts`."""
    command = studies.add(
        NAME,
        run_prompts,
        "Start a world from pictures unlike all it was trained on.",
        "Sketches in the world's colours, rendered photo-like pictures, frames of other games, and held-out frames to\n"
        "compare with: the tokenizer's round trip, a rollout under each key, and the light of doubt (of a world that\n"
        "is evaluated). Every picture is kept as soon as it is measured.",
        "  lampworks study prompts --root DIR --page docs/studies.md",
    )
    add_model_option(command)
    command.add_argument("--pictures", type=int, default=8, metavar="N", help="pictures of each kind (8)")
    command.add_argument("--frames", type=int, default=8, metavar="N", help="generated frames under each key (8)")
    command.add_argument(
        "--recordings", type=Path, metavar="DIR", help="also frames of the videos in DIR/videos: of other games, say"
    )
    command.add_argument("--photographs", type=Path, metavar="DIR", help="also the pictures (PNG, JPEG) of a folder")
    command.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    add_study_options(command, NAME)


def run_prompts(args: argparse.Namespace) -> int:
    """Measure the pictures that are missing, write the study, and print its section."""
    for option in ("pictures", "frames"):
        if getattr(args, option) < 1:
            raise UserError(f"--{option} = {getattr(args, option)}: must be at least 1")
    settings = used_settings(args)
    study = _study(args, settings.job())
    written = write_study(study, args.out, page=args.page)
    print(json.dumps(study.figures) if args.json else section(study), flush=True)
    print(f"written: {', '.join(map(str, written))}", file=sys.stderr)
    return 0


def _study(args: argparse.Namespace, job: Job) -> Study:
    from models.runtime.compute import choose_compute, intra_op_threads
    from models.studies.cells import Cells, on_days
    from models.studies.prompts import by_kind, look_at
    from models.studies.runner import processor
    from models.uncertainty.calibration import read_calibration
    from models.world.load import load_world
    from pipeline.model_choice import models_in_use, require_world

    chosen = require_world(job.store, job.config, args.model)
    evaluation = models_in_use(job.store, job.config, chosen.model_id).evaluation
    doubt = None if evaluation is None else evaluation.metrics.get("doubt")
    config = job.config.evaluation
    inputs = {
        "version": _VERSION, "world": chosen.model_id, "frames": args.frames, "settings": asdict(config),
        "doubt": None if evaluation is None else evaluation.model_id,
    }  # fmt: skip
    cells = Cells(args.out, inputs)
    found: dict[str, list[dict[str, Any]]] = {}
    left_out: dict[str, dict[str, str]] = {}
    with intra_op_threads(max(1, job.config.training.threads)):
        world = load_world(job.store, chosen.model_id, choose_compute(job.config.training))
        calibration = read_calibration(doubt)
        for kind, pictures_of_kind in _kinds(args, job, world).items():
            pictures, left_out[kind] = pictures_of_kind()

            def measure(number: int, pictures: list[np.ndarray] = pictures) -> dict[str, Any]:
                before = time.process_time()
                seen = look_at(world, pictures[number], calibration, config, args.frames)
                row = _row(seen.frames_NHWC[: 2 + _MOST_KEYS_SHOWN]) if number < _SHOWN else None
                return {"figures": seen.figures, "row": row, "cpu_s": round(time.process_time() - before, 1)}

            count = len(pictures)
            name = "".join(letter if letter.isalnum() else "-" for letter in kind.lower())
            # what is read from a folder may be other pictures the next time
            version = _digest(pictures)
            found[kind] = [
                cells.get(f"{name}-{number}-{version}", functools.partial(measure, number)) for number in range(count)
            ]
            notify(f"study {NAME}: {kind}: {count} pictures", job.on_progress)
    figures = by_kind({kind: [each["figures"] for each in parts] for kind, parts in found.items()})
    cpu_s = sum(each["cpu_s"] for parts in found.values() for each in parts)
    about = f"{processor()}{on_days(cells.days)}; {cpu_s:.0f} CPU-s"
    command = _command(args)
    return Study(
        name=NAME,
        title="What does a world make of pictures unlike all it was trained on?",
        about=_ABOUT,
        command=command,
        conditions=f"{about}; world {chosen.model_id}, {args.frames} frames under each of {world.num_actions} keys, "
        f"seed {config.seed}, sampled as in the evaluation. Brackets are 95 % intervals over the pictures of a kind.",
        found=[*_sentences(figures), *_left_out(left_out)],
        tables=_tables(figures, {kind: len(parts) for kind, parts in found.items()}),
        pictures={"sheet.png": _sheet(found, world.num_actions)},
        figures={
            "study": NAME, "command": command, "machine": about, "world": chosen.model_id, **inputs,
            "pictures": {kind: len(parts) for kind, parts in found.items()}, "figures": figures,
            "left_out": {kind: why for kind, why in left_out.items() if why},
        },
    )  # fmt: skip


_ABOUT = """\
A world starts from one picture, as a player's own drawing would be: sketches of levels in the main colours of its
videos, rendered pictures with the gradients, shading and grain of photographs (no photograph comes with this project),
and frames of games that are no platformer like its own (samples of pyxel, MIT). Held-out frames are the reference. No
true frame follows a drawing, so nothing here compares with one: the round trip says what the tokenizer keeps of the
picture, "against the round trip" how much of it is left in generated frames, the difference of two keys whether keys
still do something, and doubt is what the light on the play page reads."""


def _kinds(args: argparse.Namespace, job: Job, world: WorldModel) -> Kinds:
    from models.evaluation.held_out import held_out_clips
    from models.studies import drawn_prompts as drawn
    from models.studies.prompts import REFERENCE
    from models.studies.recordings import first_frames

    height, width, count = world.tokenizer.height, world.tokenizer.width, args.pictures
    clips = held_out_clips(job.store, job.config, None)
    if not clips:
        raise UserError("no source is held out: raise split.val_share, or keep more videos")
    frames = [clip.frames_THWC[len(clip.frames_THWC) // 2] for clip in clips]
    palette = drawn.palette_of(np.stack(frames))
    kinds: Kinds = {
        REFERENCE: lambda: (frames[:count], {}),
        "sketches": lambda: (drawn.drawn(count, lambda seed: drawn.sketch(seed, palette, height, width)), {}),
        "photo-like": lambda: (drawn.drawn(count, lambda seed: drawn.photo_like(seed, height, width)), {}),
        "other games": lambda: (drawn.other_games(count, height, width), {}),
    }
    if args.photographs is not None:
        kinds["photographs"] = lambda: drawn.pictures_of(args.photographs, count, height, width)
    if args.recordings is not None:
        kinds["recordings"] = lambda: first_frames(args.recordings, job.config.clips, count)
    return kinds


def _sentences(figures: dict[str, dict[str, Metric]]) -> list[str]:
    from models.studies.intervals import shown
    from models.studies.prompts import REFERENCE

    usual = figures[REFERENCE]
    lows = {kind: of["told_apart"].get("low") for kind, of in figures.items() if kind != REFERENCE}
    above = [kind for kind, low in lows.items() if low is not None and low > 0.5]
    sentences = [
        f"More doubt at the first frame than held-out frames, beyond its interval: {', '.join(above) or 'no kind'}.",
        f"Held-out frames: round trip {shown(usual['round_trip'], 1, 'dB')}, doubt at the first frame "
        f"{shown(usual['doubt_t1'])}, keys apart by {shown(usual['keys_apart'], 1, 'levels')}.",
    ]
    for kind, of in figures.items():
        if kind != REFERENCE:
            sentences.append(
                f"{kind.capitalize()}: round trip {shown(of['round_trip'], 1, 'dB')}, keys apart by "
                f"{shown(of['keys_apart'], 1, 'levels')}; more doubt than a held-out frame with probability "
                f"{shown(of['told_apart'])}, and the light is on for a share of {shown(of['guessing'])} of the frames."
            )
    return sentences


def _left_out(left_out: dict[str, dict[str, str]]) -> list[str]:
    return [
        f"{shown_text(name)} is left out of {kind}: {shown_text(why)}"
        for kind, reasons in left_out.items()
        for name, why in reasons.items()
    ]


def _tables(figures: dict[str, dict[str, Metric]], counts: dict[str, int]) -> list[Table]:
    from models.studies.intervals import shown
    from models.studies.prompts import FIGURES

    kinds = list(figures)
    rows = [["pictures", *(str(counts[kind]) for kind in kinds)]]
    for name, title, unit, digits in FIGURES:
        rows.append([f"{title} ({unit})" if unit else title, *(shown(figures[kind][name], digits) for kind in kinds)])
    apart = [figures[kind].get("told_apart") for kind in kinds]
    rows.append(
        ["more doubt at t = 1 than a held-out frame (probability)", *("-" if a is None else shown(a) for a in apart)]
    )
    return [Table("By kind of start frame", ["", *kinds], rows)]


def _sheet(found: dict[str, list[dict[str, Any]]], num_actions: int) -> bytes:
    from models.evaluation.pictures import frame_of
    from models.sheets import png, sheet

    rows, labels = [], []
    for kind, parts in found.items():
        for number, part in enumerate(parts[:_SHOWN], 1):
            strip = frame_of(base64.b64decode(part["row"]))
            rows.append(np.stack(np.split(strip, 2 + min(num_actions, _MOST_KEYS_SHOWN), axis=1)))
            labels.append((kind, f"{number}"))
    keys = [f"key {key + 1}" for key in range(min(num_actions, _MOST_KEYS_SHOWN))]
    return png(sheet(rows, labels, ["start", "round trip", *keys]))


def _row(frames_NHWC: np.ndarray) -> str:
    from models.evaluation.pictures import png_of

    return base64.b64encode(png_of(np.concatenate(list(frames_NHWC), 1))).decode()


def _digest(pictures: Sequence[np.ndarray]) -> str:
    from pipeline.config import fingerprint

    return fingerprint([picture.tobytes().hex() for picture in pictures])


def _command(args: argparse.Namespace) -> str:
    """Return the command that repeats the study, without where its files go."""
    parts = [
        f" --{name} {value}" for name, value in (("pictures", args.pictures), ("frames", args.frames)) if value != 8
    ]
    parts += [f" --{name} DIR" for name in ("recordings", "photographs") if getattr(args, name) is not None]
    model = f" --model {args.model}" if args.model else ""
    return f"lampworks study {NAME}{''.join(parts)}{model} --root DIR"
