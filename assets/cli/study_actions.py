"""`lampworks study read-actions`: an inverse-dynamics network on the true frames of your own recordings."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.cli.options import Parsers, add_study_options
from assets.report.study import Study, Table, section, write_study
from pipeline.config import Config, EvaluationConfig, fingerprint
from pipeline.errors import UserError
from pipeline.progress import notify

if TYPE_CHECKING:
    from models.studies.recordings import Recording

NAME, _VERSION = "read-actions", 2
_ABOUT = """\
A ConvNet sees two frames 0.1 s apart and tells the action between them. Given is the balanced accuracy: the mean over
actions of the share that is read rightly. Actions with fewer than 20 transitions are left out."""
_STEPS = EvaluationConfig().inverse_dynamics_steps
_INTERVALS = """\
Brackets are 95 % intervals over the clips of 16 s that are asked about, where there are five or more; chance is the
central 95 % of the answers of whole clips, each shifted in a circle, and takes eight clips in which actions change: the
last third of a recording of 24 clips (6.4 minutes)."""


def add_study(studies: Parsers) -> None:
    """Add `study read-actions`."""
    command = studies.add(
        NAME,
        run_read_actions,
        "Read actions from the frames of recordings that have true ones.",
        "For each recording a network learns the action between two frames from the other recordings, and is asked\n"
        "about this one; and it learns from its first clips and is asked about its last ones. A world that was\n"
        "trained on such recordings is asked by `lampworks evaluate`, with the actions beside the videos.",
        "  lampworks study read-actions --recordings DIR",
        root=False,
    )
    command.add_argument(
        "--recordings", type=Path, required=True, metavar="DIR",
        help="folder with `videos/`, and `actions/` with a file of the same name (.jsonl, .parquet) for each of some",
    )  # fmt: skip
    command.add_argument("--steps", type=int, default=_STEPS, metavar="N", help="training steps (%(default)s)")
    command.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    add_study_options(command, NAME)


def run_read_actions(args: argparse.Namespace) -> int:
    """Measure the recordings that are missing, write the study, and print its section."""
    from models.studies.cells import Cells, on_days
    from models.studies.read_actions import read_recording
    from models.studies.recordings import with_actions
    from models.studies.runner import processor

    if args.steps < 1:
        raise UserError(f"--steps = {args.steps}: must be at least 1")
    config = Config()
    recordings, problems = with_actions(args.recordings, config.clips)
    discrete = [each for each in recordings if each.parts and each.parts[0].actions.labels is not None]
    if not discrete:
        reasons = "".join(f"; {name}: {why}" for name, why in problems.items())
        raise UserError(
            f"{str(args.recordings)!r} holds no recording with discrete true actions: lay actions/NAME.jsonl beside "
            f"videos/NAME.mp4{reasons}"
        )
    data = [(each.name, [_digest(part.frames_THWC) for part in each.parts], _labels(each)) for each in discrete]
    settings = replace(config.evaluation, inverse_dynamics_steps=args.steps)
    inputs = {
        "version": _VERSION, "steps": settings.inverse_dynamics_steps, "seed": settings.seed, "data": fingerprint(data),
    }  # fmt: skip
    cells = Cells(args.out, inputs)
    found: dict[str, dict[str, Any]] = {}
    for each, own_data in zip(discrete, data, strict=True):
        # the fingerprint keeps apart what the letters of a file's name do not: "A b" and "a-b"
        letters = re.sub("[^a-z0-9]+", "-", each.name.lower())[:60]
        name = f"{letters.strip('-') or 'clip'}-{fingerprint(own_data)}"

        def measure(own: str = each.name) -> dict[str, Any]:
            before = time.process_time()
            result = read_recording(discrete, own, settings, lambda text: notify(f"study {NAME}: {text}", None))
            return {**result, "cpu_s": round(time.process_time() - before, 1)}

        found[each.name] = cells.get(f"recording-{name}", measure)
    cpu_s = sum(each["cpu_s"] for each in found.values())
    about = f"{processor()}{on_days(cells.days)}; {cpu_s:.0f} CPU-s"
    steps = "" if args.steps == _STEPS else f" --steps {args.steps}"
    command = f"lampworks study {NAME} --recordings DIR{steps}"
    study = Study(
        name=NAME,
        title="Can actions be read from the frames of recordings?",
        about=_ABOUT,
        command=command,
        conditions=f"{about}; {inputs['steps']} steps of 64 transitions, seed {settings.seed}. {_INTERVALS}",
        found=_sentences(found, problems),
        tables=[_table(found)],
        figures={
            "study": NAME, "command": command, "machine": about, **inputs, "recordings": found, "problems": problems,
        },
    )  # fmt: skip
    written = write_study(study, args.out, page=args.page)
    print(json.dumps(study.figures) if args.json else section(study), flush=True)
    print(f"written: {', '.join(map(str, written))}", file=sys.stderr)
    return 0


def _digest(frames_THWC: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(frames_THWC).data).hexdigest()


def _labels(recording: Recording) -> list[Sequence[str]]:
    return [list(part.actions.labels or ()) for part in recording.parts]


def _sentences(found: dict[str, dict[str, Any]], problems: dict[str, str]) -> list[str]:
    from models.evaluation.accuracy import beats_chance
    from models.studies.read_actions import LATER, OTHERS

    sentences = []
    for title, name in (("another recording", OTHERS), ("later clips of the same recording", LATER)):
        known = [each["figures"] for each in found.values() if each["figures"][f"{name}_shuffled"]["value"] is not None]
        above = sum(beats_chance(each, name) for each in known)
        sentences.append(
            f"Of {title}: {len(known)} of {len(found)} can be told from chance, {above} of these are above it."
        )
    return [*sentences, *(f"{name} is left out: {why}" for name, why in problems.items())]


def _table(found: dict[str, dict[str, Any]]) -> Table:
    from models.studies.intervals import shown
    from models.studies.read_actions import LATER, OTHERS

    rows = []
    for name, each in found.items():
        figures = each["figures"]
        row = [name, f"{each['transitions']}", f"{len(each['actions'])}"]
        for kind in (OTHERS, LATER):
            chance = figures[f"{kind}_shuffled"]
            known = chance["value"] is not None
            # one reason for both stands once
            why = "-" if figures[kind]["value"] is None else chance.get("reason", "-")
            row += [shown(figures[kind]), f"up to {chance['high']:.2f}" if known else why]
        rows.append(row)
    return Table(
        "By recording",
        ["recording", "transitions", "actions", "from other recordings", "chance", "from its first clips", "chance"],
        rows,
    )
