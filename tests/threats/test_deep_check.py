"""`lampworks doctor --deep` names every damaged file, and after `--mend` and a pass the root is whole again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assets.settings import Settings
from pipeline.inspect.deep import find_faults
from pipeline.inspect.mend import mend
from pipeline.inspect.status import status
from pipeline.storage.arrow import pc
from pipeline.storage.home import Home
from pipeline.storage.models_table import ModelRecord, all_models, append_model
from pipeline.storage.store import Store
from tests.laws.stages import STAGES

pytestmark = pytest.mark.usefixtures("inline")

BLOBS = {
    "a raw video": "raw/*/*.mp4",
    "the clips of a video": "clips/*/*/*level-0*.tar",
    "a training shard": "shards/*/train/*.tar",
    "the index of a training shard": "shards/*/train/*.index.parquet",
    "the manifest of the shards": "shards/*/manifest.json",
    "the data card of the shards": "shards/*/card.md",
    "a tar of tokens": "tokens/*/train/*.tar",
    "the index of a tar of tokens": "tokens/*/train/*.index.parquet",
    "weights of the tokenizer": "models/video_tokenizer/*/weights.safetensors",
    "weights of the world": "models/world_model/*/weights.safetensors",
    "weights of the classifier": "models/quality_classifier/*/weights.safetensors",
    "the classifier's thresholds": "models/quality_classifier/*/model.json",
    "a training curve": "models/world_model/*/curve.json",
    "a picture of the evaluation": "models/world_evaluation/*/rollouts.png",
    "the list of those pictures": "models/world_evaluation/*/pictures.json",
    "the manifest of a packed world": "models/playable_world/*/manifest.json",
    "a first frame of a packed world": "models/playable_world/*/starts/*.png",
    "the true actions beside a raw video": "raw/*/*level-0*.actions.jsonl",
    "the true actions of clips": "clips/*/*/*level-0*.actions.parquet",
    "the labelling queue": "labels/queue.json",
    "the clips of an audit": "labels/audit.json",
    "the audit of a decision": "reports/curation/audit.json",
    "a sheet of a decision": "reports/curation/*.jpg",
    "the contact sheet of a batch": "reports/contact/*.jpg",
    "the videos of a contact sheet": "reports/contact/*.json",
    "the spot check": "reports/spot-check.html",
    "the report": "reports/latest/index.html",
    "a picture of a training": "reports/training/*/step-*.jpg",
    "what a run is": "models/world_model/runs/*/checkpoints/run.json",
}
CHANGES: dict[str, Callable[[Path], object]] = {
    "a flipped byte": lambda path: path.write_bytes(flipped(path.read_bytes())),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "gone": lambda path: path.unlink(),
}
MANIFESTS = {"the manifest of the shards", "the manifest of a packed world"}
"""The hashes of other files are in them: those are not looked at while the manifest itself is damaged."""
# what is damaged at once, and how: every change where a hash decides; one elsewhere, because the same lines compare
ROUNDS = (
    ("a flipped byte", BLOBS.keys() - MANIFESTS),
    ("a flipped byte", MANIFESTS),
    ("cut short", {"the clips of a video", "the manifest of the shards"}),
    ("gone", {"the clips of a video", "the manifest of the shards"}),
)


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


def run_all(settings: Settings) -> None:
    """Run every stage as a pass would; each does only what is due."""
    for stage in STAGES:
        if stage.name not in {"labels", "export", "spot check"}:
            stage.run(settings.store, settings.config)


def digests_of_blobs(store: Store) -> dict[str, str]:
    keys = [key for prefix in ("raw", "clips", "shards", "tokens", "models") for key in store.list_blobs(prefix)]
    return {key: store.sha256(key) for key in keys}


def test_a_whole_root_has_no_fault_and_the_check_changes_nothing(
    root: Store, settings: Settings, lampworks: Any
) -> None:
    assert find_faults(root, settings.home) == []
    code, told = lampworks("doctor", "--deep")
    assert "every file" in told
    assert "damaged" not in told
    assert code == 0


def test_every_damaged_blob_is_named_with_what_needs_it(root: Store, settings: Settings) -> None:
    for change, names in ROUNDS:
        paths = [sorted(Path(root.root).glob(BLOBS[name]))[0] for name in names]
        whole = {path: path.read_bytes() for path in paths}
        for path in paths:
            CHANGES[change](path)
        faults = find_faults(root, settings.home)
        assert sorted(fault.key for fault in faults) == sorted(p.relative_to(root.root).as_posix() for p in paths)
        assert all(fault.needed_for and "`--mend`" in fault.mend for fault in faults)
        for path, data in whole.items():
            path.write_bytes(data)
    assert find_faults(root, settings.home) == []


@pytest.mark.slow
def test_after_mending_a_pass_makes_again_what_was_damaged_and_nothing_is_lost(root: Store, settings: Settings) -> None:
    before, labels = digests_of_blobs(root), root.read("labels")
    damaged = {}
    for name, pattern in BLOBS.items():
        if name == "a first frame of a packed world":
            continue  # its hash is in the manifest, which is damaged too
        path = sorted(Path(root.root).glob(pattern))[0]
        damaged[path.relative_to(root.root).as_posix()] = data = flipped(path.read_bytes())
        path.write_bytes(data)
    mend(root, settings.home, find_faults(root, settings.home))
    assert find_faults(root, settings.home) == []
    for key, data in damaged.items():
        assert [aside.read_bytes() for aside in Path(root.root).glob(f"damaged/*/{key}")] == [data]

    run_all(settings)

    assert find_faults(root, settings.home) == []
    assert status(root, settings.config).conserved
    assert root.read("labels") == labels
    # the same bytes again, but for curves, which hold seconds, and for what was made of the first classifier
    same = ("raw/", "clips/", "shards/")
    after = digests_of_blobs(root)
    assert {k: v for k, v in after.items() if k.startswith(same)} == {
        k: v for k, v in before.items() if k.startswith(same)
    }
    # a packed world has the evaluation's times in its id
    changes = ("curve.json", "playable_world")
    kept = {key for key in before if key.startswith("models/") and not any(part in key for part in changes)}
    assert after.keys() >= kept
    assert len([record for record in all_models(root) if record.kind == "playable_world"]) == 1


def test_a_damaged_curve_costs_the_curve_and_not_the_model(root: Store, settings: Settings) -> None:
    model_id = root.read("models", ["model_id"], pc.field("kind") == "world_model")["model_id"].to_pylist()
    for pattern in ("models/world_model/*/curve.json", "models/world_model/*/config.json"):
        path = next(Path(root.root).glob(pattern))
        path.write_bytes(flipped(path.read_bytes()))
    mend(root, settings.home, find_faults(root, settings.home))
    assert find_faults(root, settings.home) == []
    assert root.read("models", ["model_id"], pc.field("kind") == "world_model")["model_id"].to_pylist() == model_id


def test_the_command_names_the_file_and_its_advice_is_what_helps(root: Store, lampworks: Any) -> None:
    path = next(Path(root.root).glob("clips/*/*/*.tar"))
    path.write_bytes(flipped(path.read_bytes()))
    code, told = lampworks("doctor", "--deep")
    assert code == 1
    assert str(path) in told
    assert "lampworks run" in told
    code, told = lampworks("doctor", "--mend", "--json")
    assert {finding["name"] for finding in json.loads(told[told.index("[\n") :])} >= {"deep check"}


def test_on_an_object_store_damage_is_found_and_set_aside_too(s3_options: dict[str, str], tmp_path: Path) -> None:
    store, home = Store("s3://lampworks-test/deep", s3_options), Home(tmp_path)
    for name in ("a", "b"):
        store.write_blob(f"models/k/{name}/weights.safetensors", f"weights of {name}".encode())
        record = ModelRecord(model_id=name, kind="k", path=f"models/k/{name}", config={}, metrics={}, inputs={})
        append_model(store, record)
    assert find_faults(store, home) == []
    store.write_blob("models/k/a/weights.safetensors", b"weights of b")
    [fault] = find_faults(store, home)
    assert fault.key == "models/k/a/weights.safetensors"
    mend(store, home, [fault])
    assert find_faults(store, home) == []
    assert store.read("models")["model_id"].to_pylist() == ["b"]
    [aside] = store.list_blobs("damaged")
    assert store.read_blob(aside) == b"weights of b"
