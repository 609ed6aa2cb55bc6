"""`lampworks study cloning`: behaviour cloning with latent actions, played in the embedded game (Genie, appendix E)."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from assets.cli.bench_clips import processor
from assets.cli.options import Parsers, add_model_option, add_study_options, used_settings
from assets.report.charts import curves_chart
from assets.report.study import Chart, Study, Table, section, write_study
from pipeline.arcade.platformer import ACTIONS
from pipeline.errors import UserError

if TYPE_CHECKING:
    from models.studies.cloning import Cloning, CloningSettings, Scores

_TITLE = "Behaviour cloning with latent actions"
_REFERENCES = ("expert", "oracle", "runs on", "random")


def add_study(studies: Parsers) -> None:
    """Add `cloning`."""
    command = studies.add(
        "cloning",
        run_cloning,
        "Learn a policy from an expert's videos by latent actions, and play it in the true game.",
        "A scripted expert plays the embedded platformer. The frozen LAM of a trained world names its transitions, a\n"
        "policy learns them, and 10 to 200 labelled transitions translate latent to true actions. The policy plays\n"
        "levels that no recording shows, beside an oracle that learned true actions, a player that only runs, and a\n"
        "random one. About two minutes of one core for three seeds.",
        "  lampworks study cloning --root DIR --page docs/studies.md",
    )
    add_model_option(command)
    command.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds of each arm (%(default)s)")
    command.add_argument("--levels", type=int, default=24, metavar="N", help="levels that are played (%(default)s)")
    command.add_argument(
        "--episodes", type=int, default=60, metavar="N", help="levels that the expert records (%(default)s)"
    )
    command.add_argument("--steps", type=int, default=300, metavar="N", help="training steps of a policy (%(default)s)")
    command.add_argument(
        "--labels", default="10,25,50,100,200", metavar="N,N,...", help="labelled transitions (default: %(default)s)"
    )
    command.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    add_study_options(command, "cloning")


def run_cloning(args: argparse.Namespace) -> int:
    """Measure what is missing, write the study, and print its section."""
    from models.runtime.compute import choose_compute, intra_op_threads
    from models.studies.cells import Cells, on_days
    from models.studies.cloning import CloningSettings, inputs_of, study_cloning
    from models.world.load import load_world

    wanted = CloningSettings(
        seeds=args.seeds, levels=args.levels, episodes=args.episodes, steps=args.steps, labels=_numbers(args.labels)
    )
    settings = used_settings(args)
    compute = choose_compute(settings.config.training)
    # products are small: two threads would wait for each other at every one
    with intra_op_threads():
        world = load_world(settings.store, args.model or settings.config, compute)
        cells = Cells(args.out, inputs_of(world, wanted))
        found = study_cloning(world, wanted, cells, on_progress=_print_progress)
    study = study_of(found, wanted, world.model_id, f"lampworks study cloning{_options(args)}", on_days(cells.days))
    written = write_study(study, args.out, page=args.page)
    print(json.dumps(study.figures) if args.json else section(study), flush=True)
    print(f"written: {', '.join(map(str, written))}", file=sys.stderr)
    return 0


def study_of(found: Cloning, wanted: CloningSettings, world: str, command: str, when: str = "") -> Study:
    """Return the study: a table of all arms against the oracle, the curve over the labels, and the codes."""
    by_key = {(arm.name, arm.labels): arm for arm in found.arms}
    rules = [name for name in dict.fromkeys(arm.name for arm in found.arms) if name not in _REFERENCES]
    oracle = by_key["oracle", None]
    order = [by_key[name, None] for name in _REFERENCES]
    order += [by_key[rule, count] for rule in rules for count in wanted.labels]
    lines = {rule: [(float(n), float(by_key[rule, n].shares.mean())) for n in wanted.labels] for rule in rules}
    first, last = float(wanted.labels[0]), float(wanted.labels[-1])
    flat = {
        name: [(first, float(by_key[name, None].shares.mean())), (last, float(by_key[name, None].shares.mean()))]
        for name in _REFERENCES
        if name != "expert"
    }
    return Study(
        name="cloning",
        title=_TITLE,
        about="Appendix E of the paper in small. A scripted expert plays the embedded platformer: it takes the coin in "
        "sight that it reaches first, by the game's own rules. The frozen LAM of a trained world names each of its "
        "transitions, and a policy learns to name what follows a frame; it sees no true action. Labelled transitions "
        "then say which true actions each latent one stands for: one of them is drawn (the paper), or the most "
        "frequent one is taken. The score is the share of a level's six coins that is taken in "
        f"{wanted.length} steps, on levels that no recording shows. The oracle is the same network on the same frames "
        "with the true actions. Other than in the paper, a small convolutional network sees one frame and not four, "
        "because a picture of this game says all that the next one depends on.",
        command=command,
        conditions=f"{processor()}{when}; world `{world}`; seeds 0 to {wanted.seeds - 1}; {wanted.episodes} recorded "
        f"levels ({wanted.episodes * wanted.length:,} transitions), {wanted.levels} played ones, {wanted.steps} steps "
        "a policy. Differences are of the same levels, starts and random numbers.",
        found=sentences(found, wanted),
        tables=[
            Table(
                "Share of the coins taken",
                ("player", "labels", "share (95 % over seeds)", "less the oracle (over seeds)",
                 "less the oracle (over levels)", "levels finished"),
                [_row(arm, oracle) for arm in order],
            ),
            Table(
                f"What the LAM names the expert's transitions ({found.information:.2f} of {found.possible:.2f} nat)",
                ("latent action", *ACTIONS),
                [(str(code), *map(str, row)) for code, row in enumerate(found.code_counts)],
            ),
        ],
        charts=[
            Chart(
                "labels",
                "Share of the coins against the number of labelled transitions",
                curves_chart(lines | flat, x_label="labelled transitions", span=(0.0, 1.0), log_x=True,
                             label="share of the coins against labelled transitions"),
                [*(f"latent actions, {rule}" for rule in rules), *flat],
            )
        ],
        figures={"settings": asdict(wanted), "world": world, **asdict(found)},
    )  # fmt: skip


def sentences(found: Cloning, wanted: CloningSettings) -> list[str]:
    """Return what came out, whichever way it points."""
    from models.studies.intervals import paired_by_seed, paired_by_source, shown, verdict

    oracle = next(arm for arm in found.arms if arm.name == "oracle")
    said = []
    for arm in found.arms:
        if arm.labels != max(wanted.labels):
            continue
        by_seed = paired_by_seed(_by_seed(arm), _by_seed(oracle))
        by_level = paired_by_source(arm.shares, oracle.shares)
        word = verdict(by_seed, by_level, "higher", seeds=wanted.seeds, sources=wanted.levels)
        said.append(
            f"With {arm.labels} labels, actions {arm.name}: {shown(by_level)} of the coins against the oracle (over "
            f"levels): {word}."
        )
    runs = next(arm for arm in found.arms if arm.name == "runs on")
    said.append(
        f"A player that only runs as it looks takes {runs.shares.mean():.2f} of the coins: what is above it is jumping "
        "and turning at the right place."
    )
    return said


def _row(arm: Scores, oracle: Scores) -> Sequence[str]:
    from models.studies.intervals import over_seeds, paired_by_seed, paired_by_source, shown

    finished = (arm.shares == 1).mean()
    values = [arm.name if arm.labels is None else f"latent actions, {arm.name}", str(arm.labels or "-")]
    values.append(shown(over_seeds(list(_by_seed(arm).values()))))
    if arm is oracle:
        return [*values, "-", "-", f"{finished:.2f}"]
    by_seed = paired_by_seed(_by_seed(arm), _by_seed(oracle))
    return [*values, shown(by_seed), shown(paired_by_source(arm.shares, oracle.shares)), f"{finished:.2f}"]


def _by_seed(arm: Scores) -> dict[int, float]:
    return {seed: float(share) for seed, share in enumerate(arm.shares.mean(1))}


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as exc:
        raise UserError(f"--labels {text!r}: give whole numbers with commas between, as 10,50,200") from exc


def _options(args: argparse.Namespace) -> str:
    given = "".join(f" --{name} {getattr(args, name)}" for name in ("seeds", "levels", "episodes", "steps", "labels"))
    model = f" --model {args.model}" if args.model else ""
    return f" --root DIR{model}{given}"


def _print_progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
