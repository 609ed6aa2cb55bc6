"""A store as a finished run leaves it, made of rows and drawn pictures in a second: nothing is fetched or trained.

What is cheap is real (tars, frame strips, hashes, near-duplicates, shards); verdicts, scores and figures are made up,
and every sum holds. Titles are as hostile as the wild.

    store = finished_store(tmp_path / "root")
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import io
import json
import shutil
import tempfile
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.clip_spec import clip_spec
from pipeline.clips.duplicates import find_duplicates
from pipeline.clips.encode import encode_frames
from pipeline.clips.features import FEATURE_NAMES
from pipeline.clips.hashes import look_of
from pipeline.clips.tar import TarWriter
from pipeline.config import Config, fingerprint, preset
from pipeline.ids import clip_id_of
from pipeline.job import Job
from pipeline.model_choice import evaluation_inputs
from pipeline.model_ids import TOKENIZER, WORLD, steps_of, tokenizer_settings_id, world_settings_id
from pipeline.shards.splits import group_of, split_of
from pipeline.shards.write import write_shards
from pipeline.storage.home import home_of
from pipeline.storage.models_table import all_models
from pipeline.storage.store import Store

CONFIG = preset("demo")
START = datetime(2026, 11, 16, 9, 30, tzinfo=UTC)
BATCHES = ("2026w47-0001", "2026w47-0002")
HOSTILE = "\"><script>alert(1)</script> '; DROP TABLE videos; -- \n\x00 🎮 " + "very long " * 60
TITLES = (
    "Super Fox Quest any% platformer SPEEDRUN 12:44",
    "2D platformer longplay, no commentary",
    "Plataformas clásico: nivel 1-4 gameplay",
    "Lantern Run — platformer playthrough part 3",
    HOSTILE,
    "jump and run | level 7 | 100%",
)
REJECTED = {
    "negation:unboxing": "UNBOXING a platformer speedrun talk",
    "negation:movie": "Platformer playthrough: the movie",
    "keyword: no platformer word in title": "space shooter speedrun world record",
    "action: no action word": "my favourite platformer",
}
STRATA = ("good", "good", "good", "menu", "still", "good")


# -- pictures -----------------------------------------------------------------------------------------------------


def job_of(store: Store, config: Config = CONFIG) -> Job:
    """Return a job on a store, with its own home."""
    return Job(store, config, home_of(store))


def scene(kind: str, seed: int) -> np.ndarray:
    """Eight frames (8, 90, 160, 3) of something that looks like a platformer, a menu, or a picture at rest."""
    rng = np.random.default_rng(seed)
    sky, ground = rng.integers(110, 230, 3), rng.integers(30, 110, 3)
    world = np.repeat((20 * rng.random(40) + 55).astype(int), 16)
    frames = np.empty((8, 90, 160, 3), np.uint8)
    rows = np.arange(90)[:, None]
    for step in range(8):
        shift = 0 if kind == "still" else step * 14
        frame = np.broadcast_to(sky, (90, 160, 3)) * (0.7 + 0.3 * rows[..., None] / 90)
        if kind == "menu":
            frame = np.full((90, 160, 3), 28.0)
            for line in range(5):
                frame[18 + 12 * line : 25 + 12 * line, 40 : 60 + rng.integers(20, 60)] = (
                    210 if line == step % 5 else 120
                )
        else:
            floor = world[shift : shift + 160]
            frame = np.where((rows >= floor)[..., None], ground, frame)
            hero = int(floor[60]) - 16
            frame[max(hero, 0) : hero + 16, 60:72] = (230, 90, 60)
        frames[step] = np.clip(frame, 0, 255)
    return frames


def png(picture: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


# -- stages -------------------------------------------------------------------------------------------------------


def add_videos(store: Store, config: Config, *, kept: int = 12) -> list[dict[str, Any]]:
    """Search results: `kept` videos in two batches, and two rejected ones per rule."""
    rows = []
    for k in range(kept):
        rows.append(_video(k, TITLES[k % len(TITLES)], "kept", "kept:platformer+speedrun", BATCHES[k * 2 // kept]))
    for k, (rule, title) in enumerate([*REJECTED.items()] * 2, start=kept):
        rows.append(_video(k, title, "rejected", rule, None))
    store.append("videos", rows)
    store.append(
        "searches",
        [
            {
                "search_id": f"s{k}", "source": "arcade", "query": "feed", "round": k + 1, "found": new, "kept": kept,
                "rejected": len(rows) - kept, "new": new, "searched_at": START,
            }
            for k, new in enumerate((len(rows) - 5, 5))
        ],
    )  # fmt: skip
    return rows


def _video(k: int, title: str, verdict: str, rule: str, batch: str | None) -> dict[str, Any]:
    return {
        "video_id": f"arcade-v{k:03d}", "source": "arcade", "extractor": "arcade", "native_id": f"v{k:03d}",
        "url": f"http://127.0.0.1/watch/v{k:03d}", "title": title, "description": "", "tags": [],
        "channel_id": f"channel-{k}", "channel": f"Channel {k} <b>", "duration_s": 50.0, "queries": ["feed"],
        "verdict": verdict, "rule": rule, "rules_version": "r1", "batch": batch,
        "found_at": START,
    }  # fmt: skip


def add_downloads(store: Store, videos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One attempt per kept video; one is retried and then ok, one fails for good, one is pending."""
    rows = []
    for k, video in enumerate(video for video in videos if video["verdict"] == "kept"):
        ok = {"state": "ok", "path": f"raw/{video['batch']}/{video['video_id']}-{'0' * 12}.mp4", "bytes": 1_200_000,
              "sha256": hashlib.sha256(video["video_id"].encode()).hexdigest(), "format": "144p", "codec": "h264",
              "width": 256, "height": 144, "fps": 30.0, "duration_s": 50.0}  # fmt: skip
        late = {"state": "pending", "error_class": "http_503", "message": "Service Unavailable <i>",
                "next_try_at": START + timedelta(hours=1)}  # fmt: skip
        gone = {"state": "failed", "error_class": "not_found", "message": "HTTP Error 404: Not Found"}
        for number, outcome in enumerate({1: [late, ok], 2: [gone], 3: [late]}.get(k, [ok]), start=1):
            rows.append(
                {
                    "attempt_id": str(uuid.UUID(int=k * 10 + number)), "video_id": video["video_id"],
                    "batch": video["batch"], "attempt": number, "started_at": START,
                    "finished_at": START + timedelta(minutes=number), "tool_version": "yt-dlp 2026", **outcome,
                }
            )  # fmt: skip
    for row in rows:
        if row.get("path"):
            store.write_blob(row["path"], b"video")
    store.append("downloads", rows)
    return [row for row in rows if row["state"] == "ok"]


def add_clips(store: Store, config: Config, downloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Three clips of each downloaded video in a tar of its own; the last video cannot be cut, the second last waits.

    The third clip of the first two videos shows the same, so there is a duplicate.
    """
    spec, found, cuts = clip_spec(config.clips), [], []
    for k, download in enumerate(downloads[:-1]):
        shared = {"video_id": download["video_id"], "batch": download["batch"], "clip_spec": spec,
                  "source_sha256": download["sha256"]}  # fmt: skip
        if k == len(downloads) - 2:
            cuts.append({**shared, "state": "failed", "error_class": "decode_error", "message": "moov atom not found",
                         "num_clips": 0})  # fmt: skip
            continue
        buffer = io.BytesIO()
        tar = TarWriter(buffer)
        clips = []
        for n in range(3):
            kind = STRATA[(k * 3 + n) % len(STRATA)]
            frames = scene("good" if n == 2 and k < 2 else kind, 999 if n == 2 and k < 2 else k * 3 + n)
            clip_id, strip = clip_id_of(download["video_id"], n * 16000, spec), encode_frames(frames)
            mp4 = f"mp4 of {clip_id}".encode() * 10
            flags = {"still": ["still"], "menu": ["overlay"]}.get(kind, [])
            offset = tar.add(f"{clip_id}.mp4", mp4)
            luma = frames.mean(-1).astype(np.uint8)
            clips.append(
                {
                    **shared, "clip_id": clip_id, "start_ms": n * 16000, "end_ms": (n + 1) * 16000, "offset": offset,
                    "size": len(mp4), "sha256": hashlib.sha256(mp4).hexdigest(), "num_frames": 160, "width": 160,
                    "frames_offset": tar.add(f"{clip_id}.frames.jpg", strip), "frames_size": len(strip), "fps": 10.0,
                    "height": 90, "display_aspect": 1.78, "black_share": 0.0, "still_share": 0.9 if flags else 0.1,
                    "letterbox_share": 0.0, "num_cuts": n % 2, "cut_ms": [4800] * (n % 2),
                    "longest_shot_share": 0.7 if n % 2 else 1.0, "overlay_share": 0.1, "motion": 0.2, "flags": flags,
                    "features": [0.0] * len(FEATURE_NAMES), **vars(look_of(np.repeat(luma, 20, axis=0), 10)),
                }
            )  # fmt: skip
        tar.close()
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        key = f"clips/{spec}/{download['batch']}/{download['video_id']}-{digest[:12]}.tar"
        store.write_blob(key, buffer.getvalue())
        found += [{**clip, "tar": key} for clip in clips]
        cuts.append(
            {
                **shared, "state": "ok", "num_clips": 3, "source_ms": 50_000, "clip_ms": 48_000, "remainder_ms": 2_000,
                "lost_ms": 0, "lost": "[]", "packets_ms": 50_000,
                "tar": key, "tar_bytes": len(buffer.getvalue()), "tar_sha256": digest,
            }
        )  # fmt: skip
    store.append("clips", found)
    store.append("clippings", cuts)
    find_duplicates(Job(store, config, home_of(store)))
    return found


def add_labels(store: Store, clips: list[dict[str, Any]]) -> dict[str, int]:
    """Ratings: by the stand-in for all clips, and by a person for a few; one label has no clip."""
    ratings = {clip["clip_id"]: 1 if clip["flags"] else (5, 4)[k % 3 == 0] for k, clip in enumerate(clips)}
    rows = [_label(clip_id, rating, "arcade") for clip_id, rating in ratings.items()]
    rows += [_label(clip_id, rating, "ada <i>") for clip_id, rating in list(ratings.items())[:4]]
    rows.append({**_label(None, 5, "ada <i>"), "video": "gone.mp4", "start_s": 3.0, "resolved": False})
    store.append("labels", rows)
    return ratings


def _label(clip_id: str | None, rating: int, annotator: str) -> dict[str, Any]:
    return {
        "event_id": f"{annotator}-{clip_id}", "clip_id": clip_id, "rating": rating, "kind": "rate",
        "annotator": annotator, "resolved": True, "origin": "test", "labelled_at": START,
    }  # fmt: skip


def decide_all(store: Store, config: Config, clips: list[dict[str, Any]], ratings: Mapping[str, int]) -> None:
    """Scores and decisions under a classifier of made-up figures."""
    model_id = "quality-classifier-0123456789ab"
    rng = np.random.default_rng(0)
    probability = {
        clip["clip_id"]: float(np.clip((0.9 if ratings[clip["clip_id"]] >= 4 else 0.12) + rng.normal(0, 0.07), 0, 1))
        for clip in clips
    }
    _model(store, "quality_classifier", model_id, 11_177_025, 300, classifier_figures(), {"fingerprint": "x"})
    store.append(
        "scores",
        [
            {"clip_id": clip["clip_id"], "batch": clip["batch"], "model_version": model_id,
             "probability": probability[clip["clip_id"]]}
            for clip in clips
        ],
    )  # fmt: skip
    copies = {row["clip_id"]: row["representative"] for row in store.read("duplicates").to_pylist()}
    channels = {row["video_id"]: row for row in store.read("videos").to_pylist()}
    rows = []
    for clip in sorted(clips, key=lambda clip: clip["clip_id"]):
        score = probability[clip["clip_id"]]
        decision, reason = (
            ("keep", f"score {score:.2f} >= 0.74") if score >= 0.74 else ("drop", f"score {score:.2f} < 0.3")
        )
        if 0.3 <= score < 0.74:
            decision, reason = "review", f"score {score:.2f} between 0.3 and 0.74"
        if "still" in clip["flags"]:
            decision, reason = "drop", "flag: still"
        if copies[clip["clip_id"]] != clip["clip_id"]:
            decision, reason = "drop", f"duplicate of {copies[clip['clip_id']]}"
        rows.append(
            {
                "clip_id": clip["clip_id"], "video_id": clip["video_id"], "batch": clip["batch"], "decision": decision,
                "reason": reason, "probability": score, "rating": ratings[clip["clip_id"]],
                "split": split_of(group_of(channels[clip["video_id"]]), config.split), "rule_version": "r1",
                "model_version": model_id,
            }
        )  # fmt: skip
    tables = ("clips", "clippings", "duplicates", "takedowns", "scores")
    inputs = {"decided_from": {"tables": {name: store.version(name) for name in tables}}, **decision_record()}
    store.replace("curated", rows, inputs=inputs)


def decision_record() -> dict[str, Any]:
    """What a decision records beside its rows: its threshold, what others would do, and a warning."""
    threshold = {
        "rule": "best precision", "threshold": 0.74, "target_precision": 0.95, "confidence": 0.95, "reached": False,
        "clips": 86, "sources": 20, "kept": 47, "kept_sources": 16, "good": 43, "precision": 0.915, "expected": 0.89,
        "interval": [0.78, 0.96], "bound": 0.8, "recall": 0.8,
        "needed": {"labels": 34, "from_score": 0.638, "reachable": 0.9},
    }  # fmt: skip
    curve = [
        {
            "threshold": at, "clips": round(90 * (1 - at)), "hours": round(0.4 * (1 - at), 4),
            "rated": round(86 * (1 - at)), "precision": round(0.5 + 0.45 * at, 4), "recall": round(1 - at * at, 4),
            "precision_interval": [round(0.4 + 0.45 * at, 4), round(0.55 + 0.45 * at, 4)] if at < 0.9 else None,
            "recall_interval": [round(max(0.0, 0.9 - at * at), 4), round(1 - 0.8 * at * at, 4)] if at < 0.9 else None,
        }
        for at in (0.0, 0.2, 0.4, 0.6, 0.74, 0.8, 1.0)
    ]  # fmt: skip
    costs = [{"rule": "flag still", "clips": 8, "alone": 3, "rated": 6, "good": 1}]
    return {
        "threshold": threshold, "tradeoff": {"curve": curve, "costs": costs},
        "warning": "no keep threshold reaches decision.target_precision = 0.95. Rate 34 clips with `lampworks label`.",
    }  # fmt: skip


def add_models(store: Store, clips: list[dict[str, Any]], version: str) -> None:
    """A tokenizer, a world and an evaluation with curves, figures and pictures."""
    rng = np.random.default_rng(1)

    def curve(names: dict[str, tuple[float, float]], steps: int) -> list[dict[str, float]]:
        return [
            {"step": step, **{name: end + (start - end) * np.exp(-step / steps * 5) * (1 + 0.05 * rng.normal())
                              for name, (start, end) in names.items()}}
            for step in range(1, steps + 1)
        ]  # fmt: skip

    seen = {"shards": version, "lineage": []}
    steps = {kind: steps_of(kind, CONFIG) for kind in (TOKENIZER, WORLD)}
    inputs = {**seen, "settings": tokenizer_settings_id(CONFIG)}
    about = {"tokenizer": asdict(CONFIG.tokenizer), "training": {"seed": 0, "dtype": CONFIG.training.dtype}}
    _model(store, TOKENIZER, "tok1", 800_000, steps[TOKENIZER], {"psnr": 27.0}, inputs, version, about)
    store.write_blob("models/video_tokenizer/tok1/curve.json", json.dumps(
        curve({"loss": (0.3, 0.004), "psnr": (9.0, 27.0), "held_out/psnr": (8.0, 25.0)}, 300)).encode())  # fmt: skip
    inputs = {**seen, "settings": world_settings_id(CONFIG), "tokenizer": "tok1"}
    about = {"latent_actions": asdict(CONFIG.latent_actions), "dynamics": asdict(CONFIG.dynamics)}
    _model(store, WORLD, "wm1", 2_100_000, steps[WORLD], {}, inputs, version, about)
    world = {
        "lam_loss": (0.1, 0.01),
        "lam_psnr": (12.0, 22.0),
        "loss": (6.9, 1.8),
        "held_out/cross_entropy": (7.0, 2.0),
    }
    store.write_blob("models/world_model/wm1/curve.json", json.dumps(curve(world, 300)).encode())
    inputs = evaluation_inputs(store, CONFIG, all_models(store)[-1], None)
    evaluation_id = fingerprint(inputs)
    folder = f"models/world_evaluation/{evaluation_id}"
    shown = [clip["clip_id"] for clip in clips[:2]]
    frames = [scene("good", seed) for seed in range(8)]
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in frames[:6]], axis=0)
    store.write_blob(f"{folder}/contact-sheet.png", png(sheet))
    store.write_blob(f"{folder}/rollouts.png", png(np.concatenate([sheet, sheet[:180]], axis=0)))
    tiles = [np.concatenate([np.concatenate([row[t] for row in frames[:4]], 1),
                             np.concatenate([row[t] for row in frames[4:]], 1)], 0) for t in range(8)]  # fmt: skip
    images = [Image.fromarray(tile).convert("P") for tile in tiles]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=200, loop=0)
    store.write_blob(f"{folder}/rollouts.gif", buffer.getvalue())
    about = {"contact_sheet": {"clips": shown}, "rollouts": {"clips": shown[:1]}}
    store.write_blob(f"{folder}/pictures.json", json.dumps(about).encode())
    _model(store, "world_evaluation", evaluation_id, None, None, evaluation_figures(), inputs, version)


def _model(
    store: Store, kind: str, model_id: str, parameters: int | None, steps: int | None, figures: Mapping[str, Any],
    inputs: Mapping[str, Any], shards: str | None = None, config: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    row = {
        "model_id": model_id, "kind": kind, "path": f"models/{kind}/{model_id}", "parameters": parameters,
        "steps": steps, "config": json.dumps(config or {}), "figures": json.dumps(figures),
        "inputs": json.dumps(inputs),
        "shards_version": shards, "created_at": START + timedelta(minutes=store.version("models")),
    }  # fmt: skip
    store.append("models", [row])


def finished_store(root: Path) -> Store:
    """Return a store with every stage done (a copy of one that is made once)."""
    shutil.copytree(_finished(), root, dirs_exist_ok=True)
    return Store(root)


@functools.cache
def _finished() -> str:
    folder = tempfile.mkdtemp(prefix="lampworks-synthetic-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    store, config = Store(folder), CONFIG
    videos = add_videos(store, config)
    clips = add_clips(store, config, add_downloads(store, videos))
    decide_all(store, config, clips, add_labels(store, clips))
    report = write_shards(Job(store, config, home_of(store)))
    add_models(store, clips, report.version)
    return folder


# -- figures as the classifier and the evaluation publish them ----------------------------------------------------


def classifier_figures() -> dict[str, Any]:
    def auc(value: float, few: bool = False) -> dict[str, Any]:
        sides = {"good": 40, "bad": 30, "good_sources": 12, "bad_sources": 8} if not few else \
                {"good": 9, "bad": 30, "good_sources": 4, "bad_sources": 8}  # fmt: skip
        interval = [max(0.0, value - 0.06), min(1.0, value + 0.03)]
        clips = sides["good"] + sides["bad"]
        return {"auc": value, "interval": interval, "clips": clips, "sources": 17, "few": few, **sides}

    def candidate(name: str, value: float | None, note: str = "", *, reference: bool = False) -> dict[str, Any]:
        known, behind = value is not None, {"interval": [0.02, 0.2], "clips": 70, "sources": 17, "few": False}
        behind["difference"] = round(0.962 - (value or 0.0), 6)
        return {
            "name": name, "reference": reference, "auc": auc(value) if known else None,
            "extremes": auc(min(1.0, value + 0.03), few=True) if known else None,
            "below_published": behind if known and name != "measurements" else None,
            "lower": round(value - 0.06, 6) if known else None, "repeats": 5 if known else 0, "cpu_seconds": 1.5,
            "note": note,
        }  # fmt: skip

    bins = [{"probability": p, "good": min(1.0, p + 0.05 * (-1) ** k), "clips": 4 + k}
            for k, p in enumerate((0.05, 0.2, 0.5, 0.8, 0.96))]  # fmt: skip
    return {
        "format": 2, "published": "measurements", "why": "Its lower bound is the best, and it is the cheapest <i>.",
        "candidates": [
            candidate("measurements", 0.962), candidate("embedding", 0.83), candidate("blend", 0.95),
            candidate("network", None, "left out: fewer than 300 labels"),
            candidate("motion_alone", 0.88, reference=True), candidate("best_flag", 0.71, "still", reference=True),
        ],
        "headline": auc(0.962), "beats_reference": True, "folds": 5, "repeats": 5, "grouped_by": "source",
        "good_rating": 4,
        "calibration": {
            "method": "platt", "weights": "none", "brier": 0.06, "brier_interval": [0.04, 0.09], "log_loss": 0.2,
            "log_loss_interval": [0.15, 0.3], "expected_error": 0.041, "expected_error_interval": [0.02, 0.08],
            "bins": bins, "clips": 86, "sources": 20, "few": False,
            "histogram": {"edges": [], "good": [0] * 14 + [1, 0, 2, 3, 5, 9], "bad": [8, 4, 2, 1] + [0] * 15 + [1]},
        },
        "by_rating": {"1": 0.08, "2": 0.2, "3": 0.45, "4": 0.8, "5": 0.93},
        "labels": {"by_rating": {"1": 24, "2": 6, "3": 16, "4": 30, "5": 10}, "train": 86, "held_out": 0, "good": 40,
                   "bad": 30, "sources": 20},
        "held_out": {"used": False, "why": "With fewer than 300 labels all sources are used.", "auc": None},
        "promotion": {"champion": None, "replaced": True, "why": "the first", "champion_auc": None,
                      "challenger_auc": None, "difference": None},
        "unreadable": {},
    }  # fmt: skip


def evaluation_figures() -> dict[str, Any]:
    def figure(value: float, spread: float = 0.6) -> dict[str, Any]:
        return {"value": value, "low": value - spread, "high": value + spread, "num_sources": 9}

    found: dict[str, Any] = {
        "psnr": figure(26.9), "psnr_previous_frame": figure(21.0), "psnr_mean_frame": figure(20.2),
        "psnr_first_frame": figure(18.8), "psnr_kmeans": figure(23.1), "psnr_above_mean_frame": figure(6.7),
        "psnr_above_first_frame": figure(8.1), "psnr_moving": figure(22.0), "delta_t_psnr": figure(5.0),
        "delta_t_psnr_permuted": figure(3.9), "latent_action_mutual_information": figure(0.94, 0.08),
        "latent_action_mutual_information_shuffled": figure(0.01, 0.004), "code_entropy": {"value": 1.91},
        "psnr_t1_above_copy": figure(2.2),
        "latent_action_direction_information": {"value": None, "low": None, "high": None, "reason": "not known"},
    }  # fmt: skip
    found |= fidelity_figures(figure)
    for step in range(1, 9):
        found[f"psnr_t{step}"], found[f"copy_t{step}"] = figure(25 - 0.5 * step), figure(22 - 0.9 * step)
    modes = {"drift_psnr_prefill": 18.25, "drift_psnr_ring": 17.5, "drift_ring_below_prefill": 0.75}
    found |= {name: figure(value, 0.3) for name, value in modes.items()}
    by_frame = {name: [figure(value - 0.1 * step, 0.3) for step in range(12)] for name, value in modes.items()}
    found["drift"] = {"context": 4, "prompt": 2, **by_frame}
    kept = {name: [figure(0.95 - 0.01 * step, 0.04) for step in range(30)] for name in ("character_kept", "coins_kept")}
    by_code = [{"code": 3, "action": "jump-left", "sources": 4, "character_kept": [1.0] * 7 + [0.75] * 22 + [None]}]
    found |= {"character_kept_held_t8": figure(0.91, 0.05), "position_error_t8": figure(0.8, 0.4)}
    found["character"] = {**kept, "enemies_kept": [{"value": None, "reason": "none"}] * 30, "by_code": by_code}
    found["gates"] = {
        "enough_sources": {"passed": True, "value": 9, "threshold": 8},
        "delta_t_psnr_permuted": {"passed": True, "value": 3.3, "threshold": 1.0},
        "psnr_above_mean_frame": {"passed": False, "value": 2.7, "threshold": 3.0},
        "latent_action_mutual_information": {
            "passed": None,
            "value": None,
            "threshold": 0.5,
            "reason": "too few to tell: 3 sources <b>",
        },
    }
    labels = ("left", "right", "up", "down", "still", "right", "left", "up")
    found |= {"num_sources": 9, "num_clips": 18, "enough_sources": True, "latent_actions": [
        {"code": code, "label": label, "symbol": "←→↑↓·→←↑"[code], "right": 1.5 - code, "down": 0.2, "agreement": 0.9,
         "true_actions": {"run right": 0.7, "jump": 0.2, "<b>stand": 0.1} if code % 2 else {}}
        for code, label in enumerate(labels)
    ]}  # fmt: skip
    return found


def fidelity_figures(figure: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    net = {"name": "random3d", "sha256": "1f1642b7" * 8, "dimension": 192, "input": "96x54", "note": "random weights"}
    floors = {"tokenizer": figure(1.25, 0.1), "halves": figure(8.5, 2.0)}
    about = {"num_samples": 18, "net": net, "floors": floors, "on_halves": figure(9.75)}
    return {
        "FVD[transnetv2]": {
            "value": None,
            "low": None,
            "high": None,
            "num_sources": 0,
            "reason": "it is not installed",
        },
        "FVD[random3d]": {**figure(2.5), **about, "limit": 1.5, "note": "18 vectors of 192 features: biased upwards"},
        "MMD[random3d]": {**figure(0.00045, 0.0001), **about, "standard_error": 0.0001},
        "rollout_ssim": {**figure(0.81, 0.05), "num_samples": 18, "floors": {"tokenizer": figure(0.93, 0.01)}},
    }
