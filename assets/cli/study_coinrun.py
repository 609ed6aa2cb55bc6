"""`lampworks study coinrun`: the paper's case study on Procgen's CoinRun, beside the figures of other projects."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from assets.cli.bench_clips import processor
from assets.cli.options import Parsers, add_study_options
from assets.cli.run import take_pass
from assets.report.charts import intervals_chart
from assets.report.study import Chart, Study, Table, write_study
from assets.settings import Settings, load_settings
from pipeline.coinrun.published import TOKENIZERS, WORLDS, Published
from pipeline.coinrun.record import CoinRunSettings, Recorded, check_environment, record_coinrun
from pipeline.coinrun.settings import study_settings
from pipeline.config import Config, load_config
from pipeline.errors import UserError
from pipeline.ids import split_clip_id
from pipeline.model_choice import models_in_use
from pipeline.outside import shown_text
from pipeline.shards.read import current_shards, read_samples
from pipeline.storage.store import Store

_GPU_OPERATIONS, _GPU_SHARE = 625e12, 0.4
"""Operations a second of large bf16 products on an H100, and the share of it that a training is expected to reach."""
_DISTANCES = ("FVD[", "FID[", "MMD[", "rollout_distance[")
"""How the names of distances on features begin."""


def add_study(studies: Parsers) -> None:
    """Add `coinrun`."""
    command = studies.add(
        "coinrun",
        run_coinrun,
        "Train and measure a world of CoinRun, beside the figures of other projects.",
        "Records Procgen's CoinRun in hard mode with a random and a scripted agent and their true actions, takes the\n"
        "recordings through the whole graph with the preset `coinrun`, and prints PSNR, SSIM, Frechet distances and\n"
        "delta-t PSNR beside what others published, with what differs. `make coinrun` makes the environment\n"
        "that it needs, and runs it at toy width. What is recorded or trained is kept: after a kill, or with more\n"
        "--levels, the same command goes on; fewer of them need another --out.",
        "  make coinrun\n"
        "  lampworks study coinrun --levels 10000 --width paper --plan      what it costs on a GPU; trains nothing",
        root=False,
    )
    command.add_argument("--levels", type=int, default=20, metavar="N", help="levels to record (default: %(default)s)")
    command.add_argument("--first-level", type=int, default=0, metavar="N", help="seed of the first one (%(default)s)")
    command.add_argument(
        "--agents", default="random,runner", metavar="A,B",
        help="who plays each level: random (the paper's), runner (scripted: runs right and jumps) (both)",
    )  # fmt: skip
    command.add_argument("--frames", type=int, default=120, metavar="N", help="of the longest recording (%(default)s)")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of the agents (default: %(default)s)")
    command.add_argument(
        "--width", choices=("toy", "paper"), default="toy",
        help="toy: minutes on two cores; paper: all settings of the preset, for a GPU (default: %(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--steps", type=int, default=100, metavar="N", help="of each training at toy width (default: %(default)s)"
    )
    command.add_argument(
        "--python", type=Path, default=Path("build/coinrun/.venv/bin/python"), metavar="FILE",
        help="Python of an environment with procgen (default: %(default)s)",
    )  # fmt: skip
    command.add_argument("--plan", action="store_true", help="print what it would cost, and start nothing")
    add_study_options(command, "coinrun")


def run_coinrun(args: argparse.Namespace) -> int:
    """Record, train, measure and print."""
    if args.steps < 1:
        raise UserError(f"--steps = {args.steps}: must be at least 1")
    recorded = CoinRunSettings(
        levels=args.levels, first_level=args.first_level, agents=tuple(args.agents.split(",")), steps=args.frames,
        seed=args.seed,
    )  # fmt: skip
    episodes, root = args.out / "episodes", args.out / f"root-{args.width}"
    values = study_settings(f"folder:{episodes}", args.width, args.steps)
    if args.plan:
        print("\n".join(plan_lines(values, recorded)))
        return 0
    versions = check_environment(args.python)
    found = record_coinrun(recorded, episodes, args.python)
    print(f"{len(recorded.episodes)} recordings of CoinRun in {shown_text(episodes)}, {found.new} of them new")
    path = args.out / f"{args.width}.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False), "utf-8")
    settings = load_settings(str(root), config=path, recall=False)
    code = take_pass(argparse.Namespace(**vars(args), select=None, root=str(root), config=None, home=None), settings)
    if code:
        return code
    study = study_of(args, settings, found, versions, values)
    for table in study.tables:
        print(f"\n{table.title}\n{as_text(table)}")
    print("\n" + "\n".join(f"- {sentence}" for sentence in study.found))
    for written in write_study(study, args.out, page=args.page):
        print(shown_text(f"written: {written}"))
    return 0


def study_of(
    args: argparse.Namespace,
    settings: Settings,
    recorded: Recorded,
    versions: Mapping[str, str],
    values: Mapping[str, Any],
) -> Study:
    """Return the study of a trained and measured world."""
    used = models_in_use(settings.store, settings.config)
    if used.evaluation is None or used.world is None:
        raise UserError(f"the world of {settings.store.root} is not evaluated: run the same command again")
    metrics: Mapping[str, Any] = used.evaluation.metrics
    given = ("levels", "first_level", "agents", "frames", "seed", "width", "steps")
    options = " ".join(f"--{name.replace('_', '-')} {shlex.quote(str(getattr(args, name)))}" for name in given)
    sources, manifest = metrics["num_sources"], recorded.manifest
    return Study(
        name="coinrun",
        title="CoinRun, the paper's case study",
        about="Procgen's CoinRun in hard mode through the whole graph: recorded with true actions, cut to 64x64, "
        "sharded, tokenizer, latent actions and dynamics, evaluation. Levels are held out by their seed.",
        command=f"make coinrun        # or, once its environment is there:\nlampworks study coinrun {options}",
        conditions=f"{processor()}, {used.evaluation.created_at:%Y-%m-%d}; procgen {versions['procgen']}; "
        f"seed {args.seed}, one training. "
        f"Recorded: {_counts(manifest)}. {_intervals(sources, settings.config)}",
        found=[*own_state(metrics), *differs(args, values, settings.config, trained_on(settings.store))],
        tables=[
            Table("Reconstruction", _HEADER, [*_own(metrics, "tokenizer"), *map(_row, TOKENIZERS)]),
            Table("Generated frames", _HEADER, [*_own(metrics, "world"), *map(_row, WORLDS)]),
            Table("Where ours stands", ("figure", "value (95 %)"), list(_beside(metrics))),
        ],
        charts=[Chart("psnr", "PSNR in dB, with 95 % intervals of ours", _drawing(metrics))],
        figures={
            "recorded": manifest, "versions": dict(versions), "settings": dict(values), "metrics": metrics,
            "world": used.world.model_id,
        },
    )  # fmt: skip


_HEADER = ("system", "what was measured", "PSNR, dB", "SSIM", "FID (Inception, or as named)", "delta-t PSNR, dB")


def _own(metrics: Mapping[str, Any], what: str) -> list[Sequence[str]]:
    """Return our rows: of reconstructions, or of rollouts from one frame."""
    ssim, (net, fid) = metrics.get("rollout_ssim"), _first_fid(metrics)
    if what == "tokenizer":
        of = "reconstruction, held-out levels"
        return [("ours", of, shown(metrics.get("psnr")), shown(_floor(ssim)), shown(_floor(fid)) + net, "-")]
    rows = [
        ("ours, mean of the rollout", shown(metrics.get("rollout_psnr")), shown(ssim), shown(fid) + net, "-"),
        ("ours, t = 1", shown(metrics.get("psnr_t1")), "-", "-", "-"),
        ("ours, t = 4", shown(metrics.get("psnr_t4")), "-", "-", shown(metrics.get("delta_t_psnr"))),
    ]
    true = shown(metrics.get("psnr_t4_true")), "-", "-", shown(metrics.get("delta_t_psnr_true"))
    of = "latent actions inferred from held-out levels"
    return [*((name, of, *values) for name, *values in rows), ("ours, t = 4", "true actions, translated", *true)]


def _first_fid(metrics: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the network of the first FID, as it stands behind the figure, and the figure; None where there is none."""
    name = next((name for name in sorted(metrics) if name.startswith("FID[")), None)
    return ("", None) if name is None else (" " + name.removeprefix("FID"), metrics[name])


def _floor(figure: Any) -> Any:
    """Return what a figure is for the tokenizer's own reconstructions."""
    return figure.get("floors", {}).get("tokenizer") if isinstance(figure, Mapping) else None


def _row(published: Published) -> Sequence[str]:
    numbers = (published.psnr, published.ssim, published.fid, published.delta_psnr)
    return (published.system, published.of, *("-" if value is None else f"{value:.2f}" for value in numbers))


def _drawing(metrics: Mapping[str, Any]) -> Markup:
    """Return ours and copies of the prompt frame beside the published values of PSNR."""
    own = {"ours, tokenizer": "psnr", "ours, t = 1": "psnr_t1", "ours, t = 4": "psnr_t4",
           "copy, t = 1": "copy_t1", "copy, t = 4": "copy_t4"}  # fmt: skip
    found = {text: metrics.get(name, {}) for text, name in own.items()}
    rows: list[tuple[str, float, float | None, float | None]] = [
        (text, metric["value"], metric.get("low"), metric.get("high"))
        for text, metric in found.items()
        if metric.get("value") is not None
    ]
    # short names: TA is trained-agent data, as in their paper; of two test sets the first
    others: dict[str, float | None] = {}
    for one in (*TOKENIZERS, *WORLDS):
        others.setdefault(one.system.replace(", trained-agent data", "-TA"), one.psnr)
    rows += [(name, value, None, None) for name, value in others.items() if value is not None]
    return intervals_chart(rows, low=0.0, high=45.0, label="PSNR of ours and of published worlds of CoinRun")


def _beside(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a reader needs to judge ours: copies, the honest delta-t PSNR, and every distance with its floors."""
    names = {
        "copy of the prompt frame, t = 1, dB": "copy_t1",
        "copy of the prompt frame, t = 4, dB": "copy_t4",
        "delta-t PSNR, permuted actions, dB": "delta_t_psnr_permuted",
        "delta-t PSNR of true actions, permuted, dB": "delta_t_psnr_true_permuted",
        "information of latent actions about true ones, nat": "latent_action_mutual_information",
        "the same, by chance, nat": "latent_action_mutual_information_shuffled",
    }
    rows = [(text, shown(metrics.get(name))) for text, name in names.items()]
    for name in sorted(metrics):
        if name.startswith(_DISTANCES):
            rows.append((name, shown(metrics[name])))
            floors = metrics[name].get("floors", {})
            rows += [(f"{name}, floor: {floor}", shown(value)) for floor, value in floors.items()]
    return rows


def shown(metric: Any) -> str:
    """Return a metric with its interval as text; why it is not known, or `-`, where it has no value."""
    if not isinstance(metric, Mapping):
        return "-"
    if metric.get("value") is None:
        return str(metric.get("reason") or "-")
    low, high = metric.get("low"), metric.get("high")
    # distances of a kernel are far below 1
    digits = ".2f" if abs(metric["value"]) >= 0.05 or not metric["value"] else ".2g"
    text = f"{metric['value']:{digits}}"
    return text if low is None or high is None else f"{text} ({low:{digits}} to {high:{digits}})"


def own_state(metrics: Mapping[str, Any]) -> list[str]:
    """Return what our world can do, before anybody compares it."""
    used = metrics.get("codes_used", {}).get("value")
    sentences = [
        f"Rollouts at t = 4 are {shown(metrics.get('psnr_t4_above_copy'))} dB above a copy of the prompt frame."
    ]
    if used == 1:
        sentences.append("The LAM uses one code alone: it has collapsed, and nothing controls this world.")
    elif used is not None:
        sentences.append(f"The LAM uses {used} codes on held-out levels.")
    return sentences


def _intervals(sources: int, config: Config) -> str:
    return (
        f"Intervals: 95 %, bootstrap over {sources} held-out recordings (each agent's recording of a level counts as "
        f"one); of FID, Frechet distances and MMD by {config.evaluation.fidelity_draws} halves of these recordings."
    )


def trained_on(store: Store) -> tuple[int, int]:
    """Return of how many levels, and of how many recordings, a root's training shards hold clips."""
    version = current_shards(store)
    samples = () if version is None else read_samples(store, version, "train")
    recordings = {split_clip_id(sample.clip_id)[0] for sample in samples}
    videos = store.read("videos", ["video_id", "channel_id"]).to_pylist()
    return len({row["channel_id"] for row in videos if row["video_id"] in recordings}), len(recordings)


def differs(args: argparse.Namespace, values: Mapping[str, Any], config: Config, trained: tuple[int, int]) -> list[str]:
    """Return what makes our figures no match for the published ones; `trained` is what `trained_on` says."""
    measured, (levels, recordings) = config.evaluation, trained
    sentences = [
        f"Ours at t = 1 and t = 4 are of rollouts of {measured.horizon} frames from one, scored frame by frame; the "
        f"mean of the rollout, its SSIM and FID are of {measured.fidelity_frames} frames after "
        f"{measured.prompt_frames}. GenieRedux's are means over 10 frames.",
        f"Ours trained {config.tokenizer.steps:,} and {config.dynamics.steps:,} steps of {config.tokenizer.batch} and "
        f"{config.dynamics.batch} windows on {levels:,} of the {args.levels:,} levels "
        f"({recordings:,} recordings; the other levels are held out or hold no clip); the paper 300,000 of 48 and "
        "200,000 of 36 on 10,000 levels, GenieRedux 150,000 steps of 84 on 10,000 episodes.",
        "FID and Frechet distances depend on the feature network: published FIDs are on Inception features, ours on "
        "the network that the figure names.",
        "Genie's 1.91 dB are of its Platformers world; it publishes no figure on CoinRun.",
        "`runner` is scripted (it runs right, and jumps where the picture stands still); GenieRedux's learned.",
    ]
    if args.width == "toy":
        maskgit = values["evaluation"]["maskgit_steps"]
        sentences.insert(
            1,
            f"Toy width: one block of width 64 a network, {maskgit} MaskGIT steps; this shows that the path works, and "
            "not what the method gives. The LAM is the demo's (pairs of frames, noise, steps of its own).",
        )
    return sentences


def plan_lines(values: Mapping[str, Any], recorded: CoinRunSettings) -> list[str]:
    """Return what the two trainings would cost on a GPU, and the size of the recordings."""
    from pipeline.training_size.operations import training_operations
    from pipeline.training_size.parameters import FrameSize

    config = load_config(None, base="coinrun", **{key: value for key, value in values.items() if key != "preset"})
    size = FrameSize(config.clips.height, config.clips.width)
    frames = len(recorded.episodes) * recorded.steps
    lines = [f"recordings: at most {frames:,} frames of {len(recorded.episodes):,} episodes"]
    for kind in ("video_tokenizer", "world_model"):
        operations = training_operations(config, kind, size)
        total = operations.total + operations.repeated
        hours = total / (_GPU_OPERATIONS * _GPU_SHARE) / 3600
        lines.append(
            f"{kind}: {total / 1e15:,.0f} PFLOP, about {hours:,.1f} hours on one GPU at {_GPU_SHARE:.0%} of "
            f"{_GPU_OPERATIONS / 1e12:.0f} TFLOP/s (bf16 products of an H100; by formula, no run of it was made)"
        )
    return lines


def as_text(table: Table) -> str:
    """Return a table in columns of even width."""
    lines = [table.header, *table.rows]
    widths = [max(len(str(line[column])) for line in lines) for column in range(len(table.header))]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
                     for line in lines)  # fmt: skip


def _counts(manifest: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{manifest['recordings'][agent]:,} episodes ({manifest['actions'][agent]:,} actions) of agent {agent}"
        for agent in manifest["agents"]
    )
