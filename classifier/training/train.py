"""Train the quality classifier: 5 against 1, split by source, calibrated, compared, published (Genie App. B.1).

The sources that the split holds out are never learned from: the figures called `held_out` come from them. On the
others, folds grouped by source give every rated clip a score by a network that never saw its source; those
out-of-fold scores calibrate and set the threshold, over all five ratings, because the clips to decide on are mostly
neither fives nor ones. The network that is published learns from all fives and ones of the training sources.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load, save
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from classifier.pool import Pool, load_pool
from classifier.training.baseline import BASELINES, baseline_scores
from classifier.training.calibration import Floats, clip_features, fit_platt
from classifier.training.examples import Examples, load_examples
from classifier.training.fitting import device_of, fixed_threads, logits_of, train_network
from classifier.training.metrics import classifier_figures
from classifier.training.resnet import ResNet18, num_parameters
from pipeline.config import ClassifierConfig, Config, fingerprint
from pipeline.errors import UserError
from pipeline.label_events import load_labels
from pipeline.progress import Progress, ProgressCallback
from pipeline.storage.models_table import ModelRecord, append_model, newest_model
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

KIND = "quality_classifier"
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]
FORMAT = 1


@dataclass(frozen=True)
class ClassifierReport:
    """The classifier that stands after a call."""

    model_id: str
    trained: bool
    """False where the published one already fits labels, clips and configuration."""
    figures: Mapping[str, Any]
    """What it reached, see `classifier.training.metrics`."""


@dataclass(frozen=True)
class OutOfFold:
    """Scores of training clips by models that never saw their source."""

    logits_NK: Floats
    baselines: Mapping[str, Floats]


# -- what is published --------------------------------------------------------------------------------------------


def load_document(store: Store, model: ModelRecord) -> dict[str, Any]:
    """Return a model's `model.json`: sizes, calibration, out-of-fold and held-out scores."""
    return dict(json.loads(store.read_blob(f"{model.path}/model.json")))


def load_network(store: Store, model: ModelRecord, config: ClassifierConfig) -> ResNet18:
    """Return a published network in evaluation mode, on the configured device."""
    network = ResNet18(model.config["width"])
    network.load_state_dict(load(store.read_blob(f"{model.path}/weights.safetensors")))
    return network.to(device_of(config)).eval()


def classifier_is_current(store: Store, config: Config) -> bool:
    """Tell whether the published classifier was trained on today's labels, clips and configuration."""
    model = newest_model(store, KIND)
    if model is None:
        return False
    pool = load_pool(store, config)
    return bool(model.inputs["fingerprint"] == _fingerprint(pool, _pool_ratings(pool), config))


def _pool_ratings(pool: Pool) -> dict[str, int]:
    ratings = load_labels(pool.store, pool.config).ratings
    there = set(pool.scan([], clip_ids=ratings.keys())["clip_id"].to_pylist())
    return {clip_id: rating for clip_id, rating in ratings.items() if clip_id in there}


def _fingerprint(pool: Pool, ratings: Mapping[str, int], config: Config) -> str:
    rows = pool.scan(["sha256"], clip_ids=ratings.keys()).to_pylist()
    labels = [[row["clip_id"], row["sha256"], ratings[row["clip_id"]], pool.split(row["video_id"])] for row in rows]
    return fingerprint(FORMAT, labels, config.classifier, pool.spec)


# -- training -----------------------------------------------------------------------------------------------------


def train_classifier(store: Store, config: Config, *, on_progress: ProgressCallback | None = None) -> ClassifierReport:
    """Train, measure and publish the classifier, unless the published one is current.

    Args:
        store: the store; clips and labels are read, one row of `models` and two blobs are written, the row last.
        config: `classifier`, and of `labels`, `split`, `clips` and `decision` what concerns it.
        on_progress: hears the lines of progress.

    Raises:
        UserError: too few labels, labels of too few sources, or an AUC on held-out sources below
            `classifier.min_auc` (nothing is then published).
    """
    pool = load_pool(store, config)
    ratings = _pool_ratings(pool)
    inputs = _fingerprint(pool, ratings, config)
    model = newest_model(store, KIND)
    if model is not None and model.inputs["fingerprint"] == inputs:
        return ClassifierReport(model_id=model.model_id, trained=False, figures=model.metrics)
    _require_labels(ratings, config)
    examples = load_examples(pool, ratings, config.classifier)
    train, held = examples.take(~examples.val_N), examples.take(examples.val_N)
    folds = list(_folds(train, config.classifier))
    network, losses, held_logits_NK, out_of_fold = _learn(train, held, folds, config.classifier, on_progress)
    good_N = train.rating_N >= config.classifier.good_rating
    calibration = fit_platt(clip_features(out_of_fold.logits_NK), good_N)
    held_baselines = baseline_scores(train, held)
    figures, scores = classifier_figures(
        train, held, out_of_fold.logits_NK, held_logits_NK, out_of_fold.baselines, held_baselines, calibration, config
    )
    figures |= {"curve": _curve(losses), "folds": len(folds), "unreadable": dict(examples.unreadable)}
    _require_floor(figures, config)
    if any(taken_down(store).hides(video) for video in pool.videos.values()):
        # a takedown came while it learned: nothing that saw the video is published
        return train_classifier(store, config, on_progress=on_progress)
    document = {
        "format": FORMAT, "clip_spec": pool.spec, "width": config.classifier.width,
        "input_height": config.classifier.input_height, "frames_per_clip": config.classifier.frames_per_clip,
        "good_rating": config.classifier.good_rating, "calibration": calibration, **scores,
    }  # fmt: skip
    model_id = _publish(store, network, document, figures, inputs, config)
    return ClassifierReport(model_id=model_id, trained=True, figures=figures)


def _require_labels(ratings: Mapping[str, int], config: Config) -> None:
    least = config.labels.min_per_class
    missing = {rating: least - sum(1 for r in ratings.values() if r == rating) for rating in (5, 1)}
    if max(missing.values()) <= 0:
        return
    more = " and ".join(f"{count} more {'clip' if count == 1 else 'clips'} rated {rating}"
                        for rating, count in missing.items() if count > 0)  # fmt: skip
    raise UserError(
        f"too few labels for the quality classifier: {more} needed (labels.min_per_class = {least}, {len(ratings)} "
        "clips are rated now). Rate some with `lampworks label --root ROOT`, or import a CSV with "
        "`lampworks label import FILE`. Everything before this step stays done; without labels, decision.mode = "
        "flags decides by technical flags alone."
    )


def _folds(train: Examples, config: ClassifierConfig) -> Iterator[Fold]:
    """Yield (rows to learn from, rows to score), no source on both sides, both classes always to learn from."""
    extremes = [{g for g, r in zip(train.groups, train.rating_N, strict=True) if r == rating} for rating in (5, 1)]
    most = min(config.folds, *(len(groups) for groups in extremes))
    good_N = train.rating_N >= config.good_rating
    for count in range(most, 1, -1):
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=config.seed)
        folds = list(splitter.split(np.zeros(len(good_N)), good_N, np.array(train.groups, dtype=object).astype(str)))
        if all({1, 5} <= set(train.rating_N[learn].tolist()) for learn, _ in folds):
            yield from folds
            return
    raise UserError(
        "labels come from too few sources to learn without cheating: fives from "
        f"{len(extremes[0])} and ones from {len(extremes[1])} sources that are not held out, at least 2 of each are "
        "needed. Rate clips of other videos: `lampworks label --root ROOT` offers them in turn."
    )


def _learn(
    train: Examples, held: Examples, folds: list[Fold], config: ClassifierConfig, on_progress: ProgressCallback | None
) -> tuple[ResNet18, list[float], Floats, OutOfFold]:
    """Return (the network, its losses, its logits of the held-out clips, the out-of-fold scores).

    The network and those of the folds are trained side by side, each on its share of the threads: at these sizes
    one thread each is far better than all threads for each in turn (7 x in processor time on a busy machine).
    """
    jobs = [(train, held), *((_rows(train, learn), _rows(train, score)) for learn, score in folds)]
    at_once = 1 if device_of(config).type == "cuda" else min(config.threads, len(jobs))
    losses: list[list[float]] = [[] for _ in jobs]
    with (
        fixed_threads(max(1, config.threads // at_once)) as limit,
        Progress("quality classifier", config.steps * len(jobs), "steps", on_progress=on_progress) as bar,
        ThreadPoolExecutor(at_once, initializer=limit) as workers,
    ):

        def work(number: int) -> tuple[ResNet18, Floats]:
            def on_step(loss: float) -> None:
                losses[number].append(loss)
                bar.advance(note=f"loss {loss:.3f}")

            learning, scored = jobs[number]
            paper = learning.take(learning.extreme)
            seed = config.seed + number
            network = train_network(
                paper.frames_NKCHW, paper.rating_N == 5, paper.groups, config, seed=seed, on_step=on_step
            )
            return network, logits_of(network, scored.frames_NKCHW)

        (network, held_logits_NK), *found = workers.map(work, range(len(jobs)))
    logits_NK = np.zeros(train.frames_NKCHW.shape[:2])
    baselines = {name: np.zeros(len(train.clip_ids)) for name in BASELINES}
    for (_, score), (learning, scored), (_, fold_logits_NK) in zip(folds, jobs[1:], found, strict=True):
        logits_NK[score] = fold_logits_NK
        for name, score_N in baseline_scores(learning, scored).items():
            baselines[name][score] = score_N
    return network, losses[0], held_logits_NK, OutOfFold(logits_NK=logits_NK, baselines=baselines)


def _rows(examples: Examples, rows: NDArray[np.int64]) -> Examples:
    mask = np.zeros(len(examples.clip_ids), bool)
    mask[rows] = True
    return examples.take(mask)


def _curve(losses: list[float], points: int = 60) -> list[dict[str, float]]:
    """Return the loss averaged over stretches of steps."""
    stretches = [part for part in np.array_split(np.array(losses), min(points, len(losses))) if len(part)]
    ends = np.cumsum([len(part) for part in stretches])
    return [{"step": int(end), "loss": round(float(part.mean()), 5)} for end, part in zip(ends, stretches, strict=True)]


def _require_floor(figures: Mapping[str, Any], config: Config) -> None:
    judged = figures["judged"]
    if judged["auc"] < config.classifier.min_auc:
        raise UserError(
            f"the quality classifier tells fives from ones with an AUC of {judged['auc']:.3f} on {judged['on']}, below "
            f"classifier.min_auc = {config.classifier.min_auc}: nothing was published. More labels of more sources "
            "help most; else raise classifier.steps, or lower the floor knowingly."
        )


# -- publishing ---------------------------------------------------------------------------------------------------


def _publish(
    store: Store,
    network: ResNet18,
    document: Mapping[str, Any],
    figures: Mapping[str, Any],
    inputs: str,
    config: Config,
) -> str:
    tensors: dict[str, Tensor] = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    weights = save(tensors)
    text = json.dumps(document, sort_keys=True).encode()
    model_id = f"quality-classifier-{hashlib.sha256(weights + text).hexdigest()[:12]}"
    path = f"models/{KIND}/{model_id}"
    store.write_blob(f"{path}/weights.safetensors", weights)
    store.write_blob(f"{path}/model.json", text)
    record = ModelRecord(
        model_id=model_id,
        kind=KIND,
        path=path,
        parameters=num_parameters(network),
        steps=config.classifier.steps,
        config=dataclasses.asdict(config.classifier),
        metrics=figures,
        inputs={
            "fingerprint": inputs,
            "clip_spec": document["clip_spec"],
            "clips": dataclasses.asdict(config.clips),
        },
    )
    append_model(store, record)
    return model_id
