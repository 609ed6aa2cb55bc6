"""Group `on_request`: what no pass makes unless it is asked for by name."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from assets.graph.checks import check_specs, verdict
from assets.graph.context import Result, materialized, table, working
from assets.graph.curate import curated_clips
from assets.graph.dataset import training_shards
from assets.graph.ownership import OWNERS
from assets.graph.resources import Lampworks
from assets.graph.train import world_model
from models.studies.catalogue import STUDIES, study_command
from pipeline.errors import UserError
from pipeline.job import Job

if TYPE_CHECKING:
    from assets.report.study import Study
    from models.studies.study import Size


class AblationConfig(dg.Config):
    """Whether the ablation may run, and for how long its three arms are trained."""

    confirm: bool = Field(
        default=False,
        description="Set it to train: a tokenizer, and three worlds per seed, hours on a laptop. Otherwise the run "
        'fails at once, so that "Materialize all" does not start this by accident.',
    )

    ablation_steps: int = Field(
        default=200, ge=1, description="Steps of the tokenizer that all arms share, and again of the world of each."
    )

    ablation_seeds: int = Field(default=3, ge=1, description="Seeds of each arm; fewer than 3 are too few to tell.")


@dg.asset(
    owners=OWNERS,
    code_version="1",
    group_name="on_request",
    deps=[training_shards, curated_clips, world_model],
    kinds={"pytorch"},
    pool="training",
    check_specs=check_specs("curation_ablation"),
)
def curation_ablation(context: dg.AssetExecutionContext, config: AblationConfig, lampworks: Lampworks) -> Result:
    """One comparison: small worlds trained on the curated clips, on as many random ones, and on all, at equal steps.

    Runs on request only: `lampworks run --select curation_ablation`, or `confirm: true` in its config. Three arms and
    three seeds; differences are paired by seed and by held-out source. `lampworks study curation` is the same with the
    settings of a study, and writes a page. A few hundred steps show a tendency, not the paper's result (its FVD
    comparison took a 580M model).
    """
    with working(context, lampworks) as work:
        if not config.confirm:
            raise UserError(
                "curation_ablation trains three arms and runs on request only: set `confirm: true` in its config (the "
                "launchpad's `ops: {curation_ablation: {config: {confirm: true}}}`), or run "
                "`lampworks run --select curation_ablation`."
            )
        from models.studies.curation import ablation

        study, finished = ablation(work.job, steps=config.ablation_steps, seeds=config.ablation_seeds)
        found = study.differences(finished, "curated")
        [shown] = [each for each in found if (each.against, each.figure.key) == ("random", "psnr_t1")]
        better, counts = shown.by_seed["value"], study.counts()
        return materialized(
            1,
            study.data(),
            [
                verdict(
                    "curation_ablation",
                    "beats_random",
                    better is not None and better >= 0,
                    f"after {config.ablation_steps} steps, {shown.sentence()}",
                )
            ],
            {
                "figures": table(
                    [
                        {
                            "figure": each.figure.title,
                            "difference": f"{each.arm} - {each.against}",
                            "value": each.by_seed["value"],
                            **{f"{end}, seeds": each.by_seed.get(end) for end in ("low", "high")},
                            **{
                                f"{end}, sources": None if each.by_source is None else each.by_source.get(end)
                                for end in ("low", "high")
                            },
                            "verdict": each.verdict,
                        }
                        for each in found
                    ]
                ),
                **{
                    f"psnr_t1/{arm}": value
                    for arm in ("curated", "random", "pool")
                    if (value := study.mean(finished, arm, "psnr_t1")) is not None
                },
                "clips per arm": counts["curated"],
                "clips of the pool": counts["pool"],
                "held-out sources": counts["held-out sources, curated"],
                "seeds": config.ablation_seeds,
                "steps": config.ablation_steps,
            },
        )


_CLONING = "cloning"
_SUMMARIES = {name: entry.summary for name, entry in STUDIES.items()} | {
    _CLONING: "Learn a policy from videos by the latent actions of this root's world, and play it in the embedded game."
}
StudyName = Enum("StudyName", {name.replace("-", "_"): name for name in _SUMMARIES}, type=str)  # type: ignore[misc]
StudySize = Enum("StudySize", {size: size for size in ("tiny", "toy", "full")}, type=str)  # type: ignore[misc]


class StudyConfig(dg.Config):
    """Which study is made, and how large."""

    confirm: bool = Field(
        default=False,
        description="Set it to train: minutes to an hour on two cores at size toy. Otherwise the run fails at once, so "
        'that "Materialize all" does not start this by accident.',
    )
    study: StudyName = Field(
        default=StudyName.scaling,  # type: ignore[attr-defined]
        description=" ".join(f"{name}: {summary}" for name, summary in _SUMMARIES.items()),
    )
    size: StudySize = Field(
        default=StudySize.toy,  # type: ignore[attr-defined]
        description="tiny: seconds, to see that it works; toy: minutes; full: what a GPU is for.",
    )
    seeds: int = Field(default=3, ge=1, description="Seeds of each arm; fewer than 3 are too few to tell.")
    steps: int = Field(default=0, ge=0, description="Most steps of each network; 0: those of the size.")


@dg.asset(
    owners=OWNERS,
    code_version="1",
    group_name="on_request",
    deps=[training_shards, curated_clips, world_model],
    kinds={"pytorch"},
    pool="training",
    check_specs=check_specs("study"),
)
def study(context: dg.AssetExecutionContext, config: StudyConfig, lampworks: Lampworks) -> Result:
    """One study: small models trained in several ways and with several seeds, compared with intervals.

    Runs on request only: `confirm: true` and the study's name in its config, or `lampworks study NAME`. Only `curation`
    reads the clips of this root, and `cloning` its world; the others draw their own. What was measured is kept in the
    home, so a run that was ended goes on with what is missing. The page, its drawings and its figures are
    `reports/studies/NAME/` of the root.
    """
    with working(context, lampworks) as work:
        name, size, steps = config.study.value, config.size.value, config.steps or None
        if not config.confirm:
            raise UserError(
                "study trains small models and runs on request only: set `confirm: true` and `study: NAME` in its "
                f"config (`ops: {{study: {{config: {{confirm: true, study: {config.study.name}}}}}}}`), or run "
                f"`lampworks study {name}`."
            )
        from assets.report.study import publish_study, self_contained
        from models.studies.intervals import MIN_SEEDS, TOO_FEW

        folder = work.job.home.folder / "studies" / name
        make = _cloning if name == _CLONING else _list_of_runs
        shown, parts, data = make(work.job, name, folder, size, config.seeds, steps)
        keys = publish_study(shown, work.store)
        few = [sentence for sentence in shown.found if TOO_FEW in sentence]
        return materialized(
            parts,
            data,
            [
                verdict(
                    "study",
                    "tells",
                    config.seeds >= MIN_SEEDS and not few,
                    few[0] if few else f"{config.seeds} seeds of each arm; {MIN_SEEDS} are asked for",
                )
            ],
            {
                "found": dg.MetadataValue.md("\n".join(f"- {sentence}" for sentence in shown.found)),
                "page": dg.MetadataValue.md(self_contained(shown)),
                "files": f"{work.store.root}/{keys[-1]}",
                "study": name,
                "size": size,
                "seeds": config.seeds,
                "parts": parts,
            },
        )


def _list_of_runs(
    job: Job, name: str, folder: Path, size: "Size", seeds: int, steps: int | None
) -> "tuple[Study, int, str]":
    """Make a study that is a list of runs; return what it found, its runs, and the version of its data."""
    from assets.report.study_of_runs import study_of_runs
    from models.studies.runner import make_runs
    from models.studies.study import Scope

    runs = STUDIES[name].open(Scope(folder, job if STUDIES[name].reads_clips else None, size, seeds, steps))
    finished = make_runs(runs, folder, job.on_progress)
    shown = study_of_runs(runs, runs.report(finished), finished, study_command(name, size, seeds, steps), seeds)
    return shown, len(finished), runs.data()


def _cloning(
    job: Job, name: str, folder: Path, size: "Size", seeds: int, steps: int | None
) -> "tuple[Study, int, str]":
    """Clone behaviour with the configured world; return what it found, its arms, and the world."""
    from assets.report.study_of_cloning import study_of_cloning
    from models.runtime.compute import choose_compute, intra_op_threads
    from models.studies.cells import Cells
    from models.studies.cloning import CloningSettings, inputs_of, study_cloning
    from models.world.load import load_world

    tiny: dict[str, Any] = {"episodes": 6, "levels": 2, "steps": 10, "labels": (10, 25)} if size == "tiny" else {}
    wanted = CloningSettings(**{**tiny, "seeds": seeds, **({"steps": steps} if steps else {})})
    # products are small: two threads would wait for each other at every one
    with intra_op_threads():
        world = load_world(job.store, job.config, choose_compute(job.config.training))
        cells = Cells(folder, inputs_of(world, wanted))
        found = study_cloning(world, wanted, cells, on_progress=job.on_progress)
    labels = ",".join(str(count) for count in wanted.labels)
    given = f" --seeds {wanted.seeds} --levels {wanted.levels} --episodes {wanted.episodes} --steps {wanted.steps}"
    command = f"lampworks study {name} --root DIR{given} --labels {labels}"
    return study_of_cloning(found, wanted, world.model_id, command, cells.days), len(found.arms), world.model_id
