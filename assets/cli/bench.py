"""`lampworks bench`: what things cost here, always beside what they are compared with, in one run."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
from pathlib import Path

from assets.cli import bench_classifier, bench_engine
from assets.cli.bench_clips import run_clips
from assets.cli.bench_cuts import run_cuts
from assets.cli.bench_dedup import run_dedup
from assets.cli.bench_economy import add_options as add_economy_options
from assets.cli.bench_economy import run_economy
from assets.cli.bench_growth import add_options as add_growth_options
from assets.cli.bench_growth import run_growth
from assets.cli.bench_label import add_options as add_label_options
from assets.cli.bench_label import run_label_page
from assets.cli.bench_loader import add_options, run_loader
from assets.cli.bench_play import add_options as add_play_options
from assets.cli.bench_play import run_play_keys
from assets.cli.bench_s3 import run_s3
from assets.cli.bench_score import run_score
from assets.cli.bench_training import add_options as add_training_options
from assets.cli.bench_training import run_training
from assets.cli.bench_world import add_options as add_world_options
from assets.cli.bench_world import run_world
from assets.cli.options import Parsers, bench_settings
from assets.cli.sizes import run_sizes
from pipeline.errors import UserError

_WHAT = [
    "acquisition",
    "start",
    "clips",
    "cuts",
    "dedup",
    "economy",
    "engine",
    "growth",
    "label",
    "loader",
    "model",
    "play",
    "tokenizers",
    "measurements",
    "classifier",
    "s3",
    "score",
    "sizes",
    "training",
    "world",
]


def add_commands(commands: Parsers) -> None:
    """Add `bench`."""
    bench = commands.add(
        "bench",
        run_bench,
        "Measure what a stage costs, side by side with a limit.",
        "acquisition: CPU-seconds of our download (fetch, verify, hash, store, ledger) beside those of bare yt-dlp,\n"
        "on small videos that are published on loopback; in turns, all children counted, medians compared.\n"
        "clips: CPU-seconds of cutting beside ffmpeg -f null on the same films, memory of a worker at 1080 rows, and\n"
        "after many videos.\n"
        "dedup: the search for copies among made-up clips, with how time and memory grow; or, with --root, among the\n"
        "clips of a root, with the groups and look-alikes (nothing is written).\n"
        "economy: AUC and precision of the classifier against the number of labels, on the rated clips of --root, in\n"
        "a random order and in the order that a model would have asked for (--save keeps it for the report).\n"
        "growth: time and memory of the steps over a whole store (search, ledger, sensor, scores due, decision, plan\n"
        "of shards, loader, near-duplicates, status, report) at a sixteenth, a quarter and all of --videos (16000)\n"
        "and --clips (five a video), and the exponents by which they grow; exits 1 where status or the sensor takes\n"
        "more than 1 GB. Rows are made up. In full: --videos 1000000 --clips 5000000.\n"
        "engine: items a second and overhead an item of worker processes here and, with --address, of tasks on your\n"
        "Ray cluster.\n"
        "cuts: our scene cuts beside those of PySceneDetect and TransNetV2, against what a person sees, on the\n"
        "recordings of LAMPWORKS_RECORDINGS.\n"
        "start: seconds and memory until a batch of 250 makes its first request, in a store of many videos.\n"
        "label: how soon the labelling page shows the next clip after a key, in a real Chromium, and how fast its\n"
        "queue of --clips answers.\n"
        "loader: frames a CPU-second from shards beside decoding alone and beside webdataset; the resume at sample\n"
        "100,000; the start over --clips; how long training steps wait for their windows.\n"
        "model: training steps and played frames at given sizes, beside what this machine can multiply, and beside\n"
        "computing the whole window at every step.\n"
        "play: how soon a key is answered with its frame, over the websocket of the play page of --root, with one\n"
        "player and with two; with --exported, how long a frame of the page of `lampworks export world.html` takes in\n"
        "a real Chromium without network, and how many of its frames are those of a server.\n"
        "tokenizers: small tokenizers of the three architectures of Genie's table 3, of equal size, after as many\n"
        "steps on the embedded platformer.\n"
        "measurements: the AUC of each measurement and flag of clips on the rated clips of --root.\n"
        "classifier: the candidates of the quality classifier on the rated clips of --root, by cross-validation: AUC\n"
        "with intervals, CPU-seconds, and which would be published; with --groups no group is on both sides.\n"
        "score: clips a CPU-second of scoring and of embedding beside the forward passes alone, on batches of --clips\n"
        "(128) made-up clips or, with --root, of copies of its clips and with its classifier too; exits 1 below 90 %.\n"
        "s3: requests of each stage to an S3 store by operation, per video and clip, for a batch of --videos (8)\n"
        "made-up films on an S3 server on loopback (needs moto).\n"
        "sizes: parameters of every preset's networks beside the published counts, and what trainings of the paper's\n"
        "sizes cost on H100s, by formula (nothing is measured).\n"
        "training: the share of a step that is neither forward, nor backward, nor optimizer; how long a checkpoint\n"
        "holds up the steps; memory over 10,000 steps; the cost of two processes beside one; Muon beside AdamW\n"
        "(--task overhead, checkpoint, memory, ranks, optimizers: all by default).\n"
        "world: the demo's world with other settings (--variant), trained on levels of the embedded platformer as\n"
        "they were drawn, without the data path: a row each of what it cost, and of what the evaluation finds.",
        "  lampworks bench acquisition --videos 500 --rounds 3\n  lampworks bench start --videos 1000000\n"
        "  lampworks bench dedup --clips 200000\n"
        "  lampworks bench classifier --root DIR --groups metadata.jsonl:source_game --repeats 5\n"
        "  lampworks bench model --preset cc-small --dtype bf16 --task dynamics --task play\n"
        "  lampworks bench world --variant preset: --variant 'no noise:latent_actions.latent_noise=0'",
    )
    bench.add_argument("what", choices=_WHAT, help="what to measure")
    bench.add_argument(
        "--videos",
        type=int,
        metavar="N",
        help="videos to fetch (500), of the store (1000000; growth 16000), to cut (100), of s3 (8)",
    )
    bench.add_argument(
        "--clips",
        type=int,
        metavar="N",
        help="of dedup: made-up clips (5000000); of growth: of the largest store; of loader: of the set to start; "
        "of label: of the queue (10000); "
        "of score: clips of a batch (128)",
    )
    bench.add_argument("--rounds", type=int, default=3, metavar="N", help="times that each is run, or tried (3)")
    bench.add_argument(
        "--preset", default="cc-small", metavar="NAME", help="of model: cc-small (default), cc-90p, platformers-192m..."
    )
    bench.add_argument(
        "--task",
        action="append",
        metavar="NAME",
        help="of model: tokenizer, lam, dynamics, cotrain, play (these by default), frame (a pass over one frame, "
        "weights in the dtype: the way to time the largest); of training: overhead, checkpoint, memory, ranks, "
        "optimizers",
    )
    bench.add_argument("--dtype", default="fp32", metavar="NAME", help="of model: fp32 (default) or bf16")
    bench.add_argument("--threads", type=int, default=1, metavar="N", help="of model: CPU threads (1)")
    bench.add_argument("--batch", type=int, metavar="N", help="of model: windows a step (1)")
    bench.add_argument("--compile", action="store_true", help="of model: the same with compiled blocks beside it")
    bench.add_argument("--checkpoint", action="store_true", help="of model: with activation checkpointing beside it")
    bench.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="of tokenizers: training steps (250); of training: of each task; of world: at most so many",
    )
    add_options(bench)
    add_growth_options(bench)
    add_label_options(bench)
    add_play_options(bench)
    add_world_options(bench)
    add_training_options(bench)
    bench_classifier.add_options(bench)
    add_economy_options(bench)
    bench_engine.add_options(bench)
    bench.add_argument("--held-out", action="store_true", help="of cuts: fourteen other recordings")
    bench.add_argument("--json", action="store_true", help="print one JSON object")


def run_bench(args: argparse.Namespace) -> int:
    """Measure and print."""
    if args.what == "sizes":
        return run_sizes(args)
    if args.what == "measurements":
        return _measurements(args)
    if args.what == "classifier":
        return bench_classifier.run_classifier(args)
    if args.what == "s3":
        return run_s3(args)
    if args.what == "score":
        return run_score(args)
    if args.what == "model":
        return _model(args)
    if args.what == "economy":
        return run_economy(args)
    if args.what == "growth":
        return run_growth(args)
    if args.what == "engine":
        return bench_engine.run_engine(args)
    if args.what == "label":
        return run_label_page(args)
    if args.what == "loader":
        return run_loader(args)
    if args.what == "play":
        return run_play_keys(args)
    if args.what == "cuts":
        return run_cuts(args)
    if args.what == "clips":
        return run_clips(args)
    if args.what == "dedup":
        return run_dedup(args)
    if args.what == "tokenizers":
        return _tokenizers(args)
    if args.what == "training":
        return run_training(args)
    if args.what == "world":
        return run_world(args)
    videos = args.videos if args.videos is not None else 500 if args.what == "acquisition" else 1_000_000
    least = 1 if args.what == "acquisition" else 1000
    if videos < least:
        raise UserError(f"--videos = {videos}: must be at least {least}")
    if args.rounds < 1:
        raise UserError(f"--rounds = {args.rounds}: must be at least 1")
    return _acquisition(args, videos) if args.what == "acquisition" else _start(args, videos)


def _print_progress(text: str) -> None:
    print(text, file=sys.stderr)


def _start(args: argparse.Namespace, videos: int) -> int:
    from pipeline.bench.acquisition import small_video
    from pipeline.bench.start import bench_start

    with tempfile.TemporaryDirectory(prefix="lampworks-bench-") as folder:
        found = bench_start(small_video(Path(folder) / "small.mp4"), videos, args.rounds)
    if args.json:
        print(json.dumps(vars(found)))
        return 0
    print(f"a batch of {found.ok} in a store of {found.videos:,} videos and {found.attempts:,} attempts:")
    print(f"  first request after   {found.first_request_s:6.2f} s, from the interpreter's start")
    print(f"  memory                {found.parent_mb:6.0f} MB, and {found.child_mb:.0f} MB of its worker")
    return 0


def _model(args: argparse.Namespace) -> int:
    from models.bench.run import DEFAULT_TASKS, BenchRequest, bench_model

    for name in ("threads", "rounds", "batch"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise UserError(f"--{name} = {getattr(args, name)}: must be at least 1")
    request = BenchRequest(
        preset=args.preset,
        tasks=tuple(args.task or DEFAULT_TASKS),
        dtype=args.dtype,
        threads=args.threads,
        repeats=args.rounds,
        batch=args.batch,
        compare_compiled=args.compile,
        compare_checkpointed=args.checkpoint,
    )
    # with --json, standard output holds the object alone
    found = bench_model(request, on_progress=_print_progress if args.json else print)
    if args.json:
        print(json.dumps(found))
    return 0


def _measurements(args: argparse.Namespace) -> int:
    from classifier.pool import load_pool
    from classifier.training.measurement_auc import measurement_table
    from classifier.training.train import rated_clips

    settings = bench_settings(args)
    pool = load_pool(settings.store, settings.config)
    found = measurement_table(pool, rated_clips(pool))
    if args.json:
        print(json.dumps({**vars(found), "rows": [vars(row) for row in found.rows]}))
        return 0
    print(f"{found.good} clips rated 4 or 5, {found.bad} rated 1 or 2, of {found.sources} sources:")
    print(f"  {'measurement':<20}{'AUC':>6}  95 % by source   5 against 1")
    for row in found.rows:
        interval = "            " if row.interval is None else f"{row.interval[0]:.2f} to {row.interval[1]:.2f}"
        print(f"  {row.name:<20}{row.auc:6.2f}  {interval:<15}{row.extremes:10.2f}")
    print(f"  {'flag':<20}clips rated 4-5, 3, 1-2")
    for flag, counts in found.flags.items():
        print(f"  {flag:<20}{counts[0]}, {counts[1]}, {counts[2]}")
    return 0


def _tokenizers(args: argparse.Namespace) -> int:
    from models.bench.tokenizers import bench_architectures

    steps = 250 if args.steps is None else args.steps
    for name, value in (("threads", args.threads), ("steps", steps)):
        if value < 1:
            raise UserError(f"--{name} = {value}: must be at least 1")
    found = bench_architectures(steps, threads=args.threads, on_progress=_print_progress if args.json else print)
    if args.json:
        print(json.dumps(found))
    return 0


def _acquisition(args: argparse.Namespace, videos: int) -> int:
    from pipeline.bench.acquisition import bench_acquisition

    found = bench_acquisition(videos, args.rounds, _print_progress)
    medians = {name: statistics.median(getattr(found, name)) for name in ("bare", "download", "search")}
    if args.json:
        print(json.dumps({**vars(found), "ratio": found.ratio, "ratio_with_search": found.ratio_with_search}))
        return 0
    ours = medians["download"] + medians["search"]
    each, size = 1000 * medians["bare"] / found.videos, found.bytes / 1000
    print(f"{found.videos} videos of {size:.0f} kB on loopback, {args.rounds} rounds, {platform.machine()}:")
    print(f"  bare yt-dlp         {medians['bare']:7.2f} CPU-s  {each:.1f} ms a video")
    print(f"  lampworks download  {medians['download']:7.2f} CPU-s  {found.ratio:.2f} x bare")
    print(f"  with its search     {ours:7.2f} CPU-s  {found.ratio_with_search:.2f} x bare")
    return 0
