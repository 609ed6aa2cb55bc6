"""What `lampworks run --plan` says of the models that a pass would train."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from assets.passes import plan_training as module
from assets.passes.plan_training import TrainingPlan, format_training, plan_training
from assets.settings import Settings
from pipeline.config import Config, preset
from pipeline.model_ids import TOKENIZER, WORLD, run_folder, run_id, steps_of
from pipeline.shards.read import current_shards
from pipeline.storage.home import home_of
from pipeline.storage.run_file import RunFile, write_run
from pipeline.storage.store import Store
from tests.synthetic import CONFIG, finished_store


def settings_of(store: Store, config: Config = CONFIG) -> Settings:
    return Settings(store, config, home_of(store))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return finished_store(tmp_path)


@pytest.fixture
def unchanging_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing before the training be due: the synthetic store holds no sums of its own stages."""
    monkeypatch.setattr(module, "is_due", lambda asset, settings: False)


def test_an_empty_root_is_told_the_size_of_both_models(tmp_path: Path) -> None:
    plans = plan_training(settings_of(Store(tmp_path)), None, fetches=True)
    assert [(plan.kind, plan.steps) for plan in plans] == [
        (TOKENIZER, steps_of(TOKENIZER, CONFIG)),
        (WORLD, steps_of(WORLD, CONFIG)),
    ]
    assert f"parameters, {steps_of(TOKENIZER, CONFIG):,} steps of" in format_training(plans)[0]
    assert "of memory needed" in format_training(plans)[1]


def test_a_training_that_cannot_fit_is_named_in_the_plan_with_the_setting_that_makes_it_fit(tmp_path: Path) -> None:
    config = dataclasses.replace(preset("platformers"), training=dataclasses.replace(CONFIG.training, cache_clips=1))
    lines = format_training(plan_training(settings_of(Store(tmp_path), config), ["world_model"], fetches=True))
    assert lines[1].startswith("    cannot start: world_model needs about")
    unchecked = dataclasses.replace(config, training=dataclasses.replace(config.training, check_memory=False))
    lines = format_training(plan_training(settings_of(Store(tmp_path), unchecked), ["world_model"], fetches=True))
    assert len(lines) == 1


def test_a_warm_up_longer_than_the_training_stands_in_the_plan(tmp_path: Path) -> None:
    slow = dataclasses.replace(CONFIG.tokenizer.optimizer, warmup_steps=CONFIG.tokenizer.steps + 1)
    config = dataclasses.replace(CONFIG, tokenizer=dataclasses.replace(CONFIG.tokenizer, optimizer=slow))
    lines = format_training(plan_training(settings_of(Store(tmp_path), config), None, fetches=True))
    assert [line for line in lines if "tokenizer.optimizer.warmup_steps" in line and "is longer than the" in line]
    assert len(lines) == 3


def test_a_model_that_is_not_selected_is_not_planned(store: Store) -> None:
    assert plan_training(settings_of(store), ["+clips"], fetches=True) == []
    assert [plan.kind for plan in plan_training(settings_of(store), ["video_tokenizer"], fetches=True)] == [TOKENIZER]


@pytest.mark.usefixtures("unchanging_shards")
def test_trained_models_are_named_and_train_again_only_if_the_shards_change(store: Store) -> None:
    lines = "\n".join(format_training(plan_training(settings_of(store), None, fetches=False)))
    assert "trained already, tok1" in lines
    assert "trained already, wm1" in lines
    lines = "\n".join(format_training(plan_training(settings_of(store), None, fetches=True)))
    assert "only if the training shards change: wm1 is trained on the present ones" in lines


@pytest.mark.usefixtures("unchanging_shards")
def test_a_stopped_training_goes_on_at_its_last_checkpoint(store: Store) -> None:
    changed = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, seed=77))
    run = run_id(TOKENIZER, changed, current_shards(store))
    folder = run_folder(store, TOKENIZER, run, steps_of(TOKENIZER, changed))
    store.write_blob(f"{folder}/step-00000040.safetensors", b"")
    tokenizer, world = plan_training(settings_of(store, changed), None, fetches=False)
    assert (tokenizer.taken, world.taken) == (40, 0)
    assert format_training([tokenizer])[1] == "    goes on at step 40"


@pytest.mark.usefixtures("unchanging_shards")
def test_a_training_that_goes_on_from_another_run_says_so_or_why_it_cannot(store: Store) -> None:
    run = RunFile(
        run_id="5eed",
        kind=TOKENIZER,
        settings="",
        config={"tokenizer": dataclasses.asdict(CONFIG.tokenizer)},
        steps=60,
        inputs={"shards": current_shards(store)},
    )
    write_run(store, f"models/{TOKENIZER}/runs/5eed/checkpoints", run)
    store.write_blob(f"models/{TOKENIZER}/runs/5eed/checkpoints/step-00000040.safetensors", b"")

    def planned(go_on: str, **changes: Any) -> list[TrainingPlan]:
        training = dataclasses.replace(CONFIG.training, seed=77, go_on=go_on)
        changed = dataclasses.replace(
            CONFIG, training=training, tokenizer=dataclasses.replace(CONFIG.tokenizer, **changes)
        )
        return plan_training(settings_of(store, changed), None, fetches=False)

    tokenizer, world = planned("5ee", steps=50, batch=3)
    assert (tokenizer.taken, world.taken) == (40, 0)
    [_, line] = format_training([tokenizer])
    assert "goes on from video_tokenizer 5eed at step 40 of 50, with its optimizer; changed: tokenizer.batch" in line
    for refused, reason in (
        (planned("5ee", steps=40), "raise tokenizer.steps (now 40)"),
        (planned("5ee", steps=50, codebook_size=7), "tokenizer.codebook_size = 7 instead of"),
        (planned("5eee"), "training.go_on = '5eee': no model or run has such an id"),
    ):
        line = format_training(refused)[1]
        assert line.startswith("    cannot start: training.go_on = ")
        assert reason in line
