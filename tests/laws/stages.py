"""A small world that the real stages make from files, kept as it stood before every stage.

    world = World(folder)          # a folder of tiny videos, and a root in which every stage ran once
    world.before("clips")          # the root as it stood before the clips were cut

Each stage is in `STAGES`: its name, and a call of the function that the graph calls for it.
"""

from __future__ import annotations

import dataclasses
import fcntl
import inspect
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from assets.report.compare import write_comparison
from assets.report.contact_sheets import draw_sheet
from assets.report.curation_sheets import draw_curation_sheets
from assets.report.page import write_report
from classifier.audit.audit import audit_curation
from classifier.decision.decide import decide
from classifier.decision.scoring import score_batch
from classifier.embedding.embed import embed_clips
from classifier.embedding.situations import clips_like
from classifier.labels.import_file import import_labels
from classifier.labels.queue import write_queue
from classifier.training.train import train_classifier
from models.evaluation.evaluate import evaluate
from models.play.packed.write import publish_packed
from models.tokens.encode import write_tokens
from models.training.train import train_tokenizer, train_world_model
from pipeline.clips.cut_batch import cut_batch
from pipeline.clips.duplicates import find_duplicates
from pipeline.config import (
    ClassifierConfig,
    ClipConfig,
    Config,
    DownloadConfig,
    EmbeddingConfig,
    EngineConfig,
    EvaluationConfig,
    LabelConfig,
    SourceConfig,
    SplitConfig,
)
from pipeline.config.training import TrainingConfig
from pipeline.config.world import DynamicsConfig, LatentActionConfig, OptimizerConfig, StackConfig, TokenizerConfig
from pipeline.download.batch import download_batch
from pipeline.inspect.export import export_clips
from pipeline.job import Job
from pipeline.model_ids import TOKENIZER, WORLD
from pipeline.search.batches import batches
from pipeline.search.search import search_videos
from pipeline.search.spot_check import write_spot_check
from pipeline.shards.splits import group_of, split_of
from pipeline.shards.write import write_shards
from pipeline.storage.arrow import pc
from pipeline.storage.home import home_of
from pipeline.storage.models_table import all_models
from pipeline.storage.store import Store
from pipeline.uncovered import Situation, record_situations
from tests.laws.recording import Event, Log, run_recorded
from tests.media import write_video

_STACK = StackConfig(layers=1, d_model=16, heads=1, head_dim=8)
_FRAME_STACK = dataclasses.replace(_STACK, temporal_attention=False)
_OPTIMIZER = OptimizerConfig(learning_rate=1e-3, final_learning_rate=1e-4, warmup_steps=1)
CONFIG = Config(
    source=SourceConfig(spec="folder:.", batch_size=50),
    download=DownloadConfig(workers=1, min_free_gb=0.0, actions="keep"),
    engine=EngineConfig(workers=1),
    clips=ClipConfig(seconds=2, fps=10),
    split=SplitConfig(val_share=0.5),
    labels=LabelConfig(min_per_class=4),
    embedding=EmbeddingConfig(width=32, height=32, frames=1, threads=1, device="cpu"),
    classifier=ClassifierConfig(
        width=8, input_height=45, frames_per_clip=4, steps=12, batch=8, learning_rate=3e-3, folds=2, repeats=1,
        min_auc=0.0, threads=1,
    ),
    tokenizer=TokenizerConfig(
        patch=10, codebook_size=64, latent_dim=8, encoder=_STACK, decoder=_STACK, window=3, batch=1, steps=2,
        optimizer=_OPTIMIZER, ema_decay=0.9,
    ),
    latent_actions=LatentActionConfig(
        patch=10, latent_dim=8, encoder=_FRAME_STACK, decoder=_FRAME_STACK, optimizer=_OPTIMIZER,
        pooling="antisymmetric", ema_decay=0.9, normalize_latent=True,
    ),
    dynamics=DynamicsConfig(stack=_STACK, context=3, batch=1, steps=2, optimizer=_OPTIMIZER),
    training=TrainingConfig(
        device="cpu", dtype="fp32", threads=1, checkpoint_every=1, eval_windows=1, validate_every=1,
        validation_windows=1, pictures=1,
    ),
    evaluation=EvaluationConfig(
        windows_per_clip=1, prompt_frames=2, random_draws=1, maskgit_steps=1, token_temperature=1.0, shuffles=20,
        bootstrap_draws=100, inverse_dynamics_steps=1,
        doubt_windows=1, doubt_frames=3, rollout_frames=2, start_frames=2, kmeans_patches=500,
        drift_contexts=1, feature_nets=("own",), fidelity_frames=4, fidelity_windows=1, fidelity_draws=10,
        character_frames=4, character_windows=1, character_starts=1,
    ),
)  # fmt: skip

Run = Callable[[Store, Config], object]


@dataclass(frozen=True)
class Stage:
    """A stage that publishes something derived from videos."""

    name: str
    run: Run
    takes_down: str = "train"
    """The split whose video is taken down while the stage runs."""
    same_as_before: bool = True
    """Whether its result then equals that of a takedown which came before it began."""


def _call(function: Callable[..., object]) -> Run:
    """Return a run of a function that takes a job, or those parts of one that its parameters name."""
    names = inspect.signature(function).parameters

    def run(store: Store, config: Config) -> None:
        parts: dict[str, Any] = {"store": store, "config": config, "home": home_of(store), "job": _job(store, config)}
        if "batch" in names:
            [parts["batch"]] = batches(store)
        if "path" in names:
            parts["path"] = exported(store)
        function(**{name: part for name, part in parts.items() if name in names})

    return run


def _job(store: Store, config: Config) -> Job:
    job = Job(store, config, home_of(store))
    named = batches(store)
    return job.of_batch(named[0]) if named else job


def _rate(store: Store, config: Config) -> None:
    """Rate every clip: 5 for levels, 1 for menus."""
    rows = store.read("clips", ["clip_id", "video_id"]).sort_by("clip_id").to_pylist()
    native = {row["video_id"]: row["native_id"] for row in store.read("videos").to_pylist()}
    lines = [f"{row['clip_id']},{5 if native[row['video_id']].startswith('level') else 1}" for row in rows]
    file = Path(store.root).with_name("labels.csv")
    file.write_text("clip_id,rating\n" + "\n".join(lines) + "\n", "utf-8")
    import_labels(store, file, "ann", config)


def _decide_otherwise(store: Store, config: Config) -> None:
    decide(
        _job(store, dataclasses.replace(config, decision=dataclasses.replace(config.decision, keep_duplicates=True)))
    )


def exported(store: Store) -> Path:
    """Return the file that the stage `export` writes."""
    return Path(store.root).with_name("export.parquet")


def _compare(store: Store, config: Config) -> None:
    write_comparison(store, config, [row.model_id for row in all_models(store) if row.kind in (TOKENIZER, WORLD)])


def _pack(store: Store, config: Config) -> None:
    publish_packed(store, config, {"fps": 1.0})


def _guess(store: Store, config: Config) -> None:
    """Write that a world could only guess in games which began at a clip of each video."""
    clips = {row["video_id"]: row["clip_id"] for row in store.read("clips", ["clip_id", "video_id"]).to_pylist()}
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((90, 160, 3), np.uint8)).save(buffer, "PNG")
    situations = [
        Situation(
            world="w", start=f"held_out:{number}", clip_id=clip_id, link="#actions=0", t=1, score=1.0, entropy=1.0,
            residual=1.0, disagreement=1.0, expected_psnr=10.0, pictures=(buffer.getvalue(),),
        )
        for number, clip_id in enumerate(clips.values())
    ]  # fmt: skip
    record_situations(store, situations, lambda some: clips_like(store, config, some))


STAGES = (
    Stage("search", _call(search_videos)),
    Stage("download", _call(download_batch)),
    Stage("clips", _call(cut_batch)),
    Stage("embeddings", _call(embed_clips)),
    Stage("duplicates", _call(find_duplicates)),
    Stage("label queue", _call(write_queue)),
    Stage("labels", _rate),
    Stage("classifier", _call(train_classifier)),
    Stage("scores", _call(score_batch)),
    Stage("decision of another rule", _decide_otherwise),
    Stage("decision", _call(decide)),
    Stage("audit", _call(audit_curation)),
    Stage("sheets of the decision", _call(draw_curation_sheets)),
    Stage("shards", _call(write_shards)),
    Stage("tokenizer", _call(train_tokenizer)),
    Stage("tokens", _call(write_tokens)),
    Stage("world model", _call(train_world_model)),
    Stage("evaluation", _call(evaluate), takes_down="val"),
    Stage("packed world", _pack, takes_down="val"),
    Stage("situations that a world could only guess", _guess, takes_down="val"),
    Stage("contact sheet", _call(draw_sheet)),
    # the number of videos that each rule decided stays that of the choice
    Stage("spot check", _call(write_spot_check), same_as_before=False),
    Stage("report", _call(write_report), takes_down="val"),
    Stage("comparison of runs", _compare, takes_down="val"),
    # not a video that has copies: the export gives the table of near-duplicates as it stands, until the next pass
    Stage("export", _call(export_clips), takes_down="val"),
)  # fmt: skip


class World:
    """The root in which every stage ran once, what each did (`logs`), and copies of the root before each.

    The first process that asks for the world of a folder makes it there; others wait, and read what it noted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = dataclasses.replace(CONFIG, source=SourceConfig(spec=f"folder:{folder / 'videos'}"))
        self.finished = Store(folder / "finished" / "root")
        folder.mkdir(parents=True, exist_ok=True)
        notes = folder / "logs.json"
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not notes.exists():
                notes.write_text(json.dumps({name: _noted(log) for name, log in self._make().items()}))
        self.logs = {name: _log_of(noted) for name, noted in json.loads(notes.read_text()).items()}
        self.native = {row["video_id"]: row["native_id"] for row in self.finished.read("videos").to_pylist()}

    def _make(self) -> dict[str, Log]:
        # what a process has left that failed
        for name in ("videos", "finished", "before"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        write_videos(self.folder / "videos")
        self.finished.check_writable()
        logs = {stage.name: Log() for stage in STAGES}
        for stage in STAGES:
            shutil.copytree(self.finished.root, self._before(stage.name))
            run_recorded(stage.run, Path(self.finished.root), self.config, logs[stage.name])
        return logs

    def _before(self, name: str) -> Path:
        return self.folder / "before" / name

    def before(self, name: str, target: Path) -> Path:
        """Copy the root as it stood before a stage, and return the copy."""
        shutil.copytree(self._before(name), target)
        return target

    def video(self, split: str) -> str:
        """Return a video whose clips are kept in a split; in train the one that represents its near-duplicate."""
        rows = self.finished.read("videos").sort_by("video_id").to_pylist()
        names = [row["video_id"] for row in rows if split_of(group_of(row), self.config.split) == split]
        kept = set(self.finished.read("curated", ["video_id"], pc.field("decision") == "keep")["video_id"].to_pylist())
        copies = self.finished.read("duplicates", ["representative"], ~pc.field("is_representative"))
        represents = {clip_id.split("-0000")[0] for clip_id in copies["representative"].to_pylist()}
        return next(name for name in names if name in kept and (split == "val" or name in represents))


def _noted(log: Log) -> dict[str, Any]:
    return {"events": [vars(event) for event in log.events], "missing": log.missing, "folders": log.folders}


def _log_of(noted: dict[str, Any]) -> Log:
    return Log([Event(**event) for event in noted["events"]], missing=noted["missing"], folders=noted["folders"])


def write_videos(folder: Path) -> None:
    """Write fifteen videos of 4 s: ten that scroll through a level, one of them a second encode, and five menus."""
    for number in range(9):
        write_video(folder / f"level-{number}.mp4", _level(number), fps=10)
        (folder / f"level-{number}.actions.jsonl").write_text(f'{{"t": 0.0, "action": "{number}"}}\n', "utf-8")
    write_video(folder / "level-copy.mp4", np.clip(_level(0).astype(int) + 2, 0, 255).astype(np.uint8), fps=10)
    for number in range(5):
        write_video(folder / f"menu-{number}.mp4", _menu(number), fps=10)


def _level(seed: int) -> np.ndarray:
    """Return frames (T, 90, 160, 3) of a textured level that scrolls."""
    rng = np.random.default_rng(seed)
    level = np.kron(rng.integers(0, 255, (10, 40, 3), dtype=np.uint8), np.ones((9, 8, 1), np.uint8))
    return np.stack([level[:, 3 * step : 3 * step + 160] for step in range(41)])


def _menu(seed: int) -> np.ndarray:
    """Return frames (T, 90, 160, 3) of bars on a dark ground, of which one at a time is bright."""
    rng = np.random.default_rng(100 + seed)
    frames = np.full((41, 90, 160, 3), 25, np.uint8)
    for line in range(5):
        width = int(rng.integers(30, 90))
        for step in range(41):
            frames[step, 12 + 14 * line : 20 + 14 * line, 30 : 30 + width] = 220 if line == step // 4 % 5 else 90
    return frames
