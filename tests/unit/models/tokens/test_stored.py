"""A world that reads its tokens from the token shards takes the steps of one that encodes its windows."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from models.networks.tokenizer import VideoTokenizer
from models.tokens.encode import write_tokens
from models.tokens.stored import StoredTokens, stored_tokens
from models.training.train import train_tokenizer, train_world_model
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.model_choice import models_in_use
from pipeline.shards.loader.loader import Place
from pipeline.shards.read import current_shards
from pipeline.storage.models_table import find_model
from pipeline.storage.store import Store
from pipeline.tokens.read import read_token_clips
from tests.trainings import CONFIG
from tests.unit.models.tokens.conftest import job

STORED = dataclasses.replace(
    CONFIG,
    dynamics=dataclasses.replace(CONFIG.dynamics, window_stride=4),
    training=dataclasses.replace(CONFIG.training, read_tokens=True),
)


def without_shards(config: Config = STORED) -> Config:
    return dataclasses.replace(config, training=dataclasses.replace(config.training, read_tokens=False))


def world(store: Store, config: Config, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[Any], list[str], int]:
    """Train a world: its row, its curve, what was said, and how many videos were encoded in its steps."""
    encode, calls, in_steps, said = VideoTokenizer.encode, [0], [0], list[str]()

    def counted(self: VideoTokenizer, video: Any) -> Any:
        calls[0] += 1
        return encode(self, video)

    monkeypatch.setattr(VideoTokenizer, "encode", counted)
    told = dataclasses.replace(job(store, config), on_progress=said.append)
    report = train_world_model(told, on_step=lambda step, metrics: in_steps.__setitem__(0, calls[0]))
    row = find_model(store, "world_model", report.model_id)
    return row, json.loads(store.read_blob(f"{row.path}/curve.json")), said, in_steps[0]


def test_tokens_of_the_shards_give_the_same_steps_as_those_computed_on_the_fly(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tokens(job(store))
    damaged = Store(shutil.copytree(store.root, tmp_path / "damaged"))
    other = Store(shutil.copytree(store.root, tmp_path / "other"))
    read, curve, _, encoded = world(store, STORED, monkeypatch)
    assert encoded == 0
    plain, expected, _, encoded = world(other, without_shards(), monkeypatch)
    assert encoded >= 4
    assert curve == expected
    assert read.model_id == plain.model_id, "where tokens come from makes no other model"
    # one clip's tokens are damaged: its windows are encoded, which is said and counted
    first = next(iter(read_token_clips(damaged, "train")))
    tar = bytearray(damaged.read_blob(first.path))
    tar[first.offset] ^= 1
    damaged.write_blob(first.path, bytes(tar))
    row, curve, said, encoded = world(damaged, STORED, monkeypatch)
    assert curve == expected
    assert 0 < encoded < 8
    assert any(first.clip_id in line and "not those that were written" in line for line in said)
    assert row.metrics["clips_without_tokens"] == 1


def test_a_window_or_a_clip_that_is_not_stored_is_no_tokens(store: Store) -> None:
    write_tokens(job(store))
    stored = opened(store, STORED)
    clip = next(iter(read_token_clips(store, "train")))
    assert stored._window(Place(clip.clip_id, 1)) is None
    assert stored._window(Place("nobody", 0)) is None
    assert list(stored.missing) == [clip.clip_id, "nobody"]
    assert stored._window(Place(clip.clip_id, 4)) is not None


def opened(store: Store, config: Config) -> StoredTokens:
    tokenizer = models_in_use(store, config).tokenizer
    assert tokenizer is not None
    return stored_tokens(job(store, config), tokenizer.model_id, str(current_shards(store)))


def changed(config: Config, section: str, **values: Any) -> Config:
    return dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **values)})


@pytest.mark.slow
def test_what_does_not_fit_is_refused_before_the_first_step_and_what_the_error_says_helps(store: Store) -> None:
    with pytest.raises(UserError, match=r"no token shards: make them .*--select token_shards"):
        train_world_model(job(store, STORED))
    write_tokens(job(store, STORED))
    opened(store, STORED)
    # other windows
    shorter = changed(changed(STORED, "dynamics", context=3), "latent_actions", window=0)
    with pytest.raises(UserError, match=r"windows of 4 frames, and dynamics.context = 3: set tokens.window = 3"):
        opened(store, shorter)
    shorter = changed(changed(shorter, "tokens", window=3), "dynamics", window_stride=3)
    with pytest.raises(UserError, match="made with other settings `tokens`: make them again"):
        opened(store, shorter)
    write_tokens(job(store, shorter))
    opened(store, shorter)
    write_tokens(job(store, STORED))
    # other starts
    anywhere = changed(STORED, "dynamics", window_stride=1)
    with pytest.raises(UserError, match=r"set dynamics.window_stride = 4, or tokens.stride = 1 and make them again"):
        opened(store, anywhere)
    anywhere = changed(anywhere, "tokens", stride=1)
    write_tokens(job(store, anywhere))
    opened(store, anywhere)
    longer = changed(STORED, "dynamics", own_frames=2, own_frame_share=0.5)
    write_tokens(job(store, longer))
    with pytest.raises(UserError, match=r"begin 3 frames later, .* set tokens.stride = 1"):
        opened(store, longer)
    longer = changed(longer, "tokens", stride=1)
    write_tokens(job(store, longer))
    opened(store, longer)
    across = changed(STORED, "tokens", avoid_cuts=False)
    write_tokens(job(store, across))
    with pytest.raises(UserError, match=r"set tokens.avoid_cuts = true, and make them again"):
        opened(store, across)
    # another tokenizer's tokens
    write_tokens(job(store, STORED))
    other = changed(STORED, "tokenizer", steps=5)
    train_tokenizer(job(store, other))
    with pytest.raises(
        UserError, match=r"the token shards are of tokenizer \w+, and this training is of \w+: make them"
    ):
        train_world_model(job(store, other))
    write_tokens(job(store, other))
    opened(store, other)
    # or encode at every step
    train_world_model(job(store, without_shards(anywhere)))
