"""What behaviour cloning with latent actions has found, as its page shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from assets.report.charts import curves_chart
from assets.report.study import Chart, Study, Table
from models.studies.cells import on_days
from models.studies.runner import processor
from pipeline.arcade.platformer import ACTIONS

if TYPE_CHECKING:
    from models.studies.cloning import Cloning, CloningSettings, Scores

_TITLE = "Behaviour cloning with latent actions"
_REFERENCES = ("expert", "oracle", "runs on", "random")


def study_of_cloning(
    found: Cloning, wanted: CloningSettings, world: str, command: str, days: Iterable[str] = ()
) -> Study:
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
        conditions=f"{processor()}{on_days(days)}; world `{world}`; seeds 0 to {wanted.seeds - 1}; "
        f"{wanted.episodes} recorded levels "
        f"({wanted.episodes * wanted.length:,} transitions), {wanted.levels} played ones, {wanted.steps} steps "
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
