"""A store with training shards and a trained tokenizer, for what makes tokens and for what reads them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from models.training.train import train_tokenizer
from pipeline.config import Config
from pipeline.config.tokens import TokensConfig
from pipeline.job import Job
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.trainings import CONFIG, add_training_shards


def job(store: Store, config: Config = CONFIG, **tokens: Any) -> Job:
    config = dataclasses.replace(config, tokens=TokensConfig(**tokens)) if tokens else config
    return Job(store, config, home_of(store))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = add_training_shards(Store(tmp_path_factory.mktemp("tokens") / "root"))
    train_tokenizer(job(store))
    return store


@pytest.fixture
def store(trained: Store, tmp_path: Path) -> Store:
    shutil.copytree(trained.root, tmp_path / "root")
    return Store(tmp_path / "root")
