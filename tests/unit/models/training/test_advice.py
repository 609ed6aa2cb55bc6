"""What the errors of a training advise is done here, and works; other files do so where they raise the error."""

import dataclasses
import re
import shutil
from pathlib import Path

import pytest
import torch

from models.networks.tokenizer import VideoTokenizer
from models.training.checkpoint import Checkpoints
from models.training.finite import NotFiniteError
from models.training.train import train_tokenizer
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.shards.write import write_shards
from pipeline.storage.home import home_of
from pipeline.storage.takedown import request_takedown
from tests.synthetic import CONFIG as PIPELINE_CONFIG
from tests.synthetic import finished_store, job_of
from tests.trainings import CONFIG, add_training_shards, killed_after


@pytest.fixture
def shards(store):
    return add_training_shards(store)


def with_training(**changes):
    return dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, **changes))


@pytest.mark.parametrize("named", [True, False], ids=["goes on", "starts again"])
def test_what_bf16_cannot_hold_fp32_can_from_the_last_checkpoint_or_from_the_first_step(shards, monkeypatch, named):
    loss, calls = VideoTokenizer.loss, []

    def overflowing(self, video):
        calls.append(None)
        found, result = loss(self, video)
        return found * (float("nan") if torch.is_autocast_enabled("cpu") and len(calls) > 3 else 1), result

    monkeypatch.setattr(VideoTokenizer, "loss", overflowing)
    with pytest.raises(NotFiniteError, match=r"or set training\.dtype = 'fp32' \(now 'bf16'\)") as caught:
        train_tokenizer(job_of(shards, with_training(dtype="bf16")))
    advice = r"with training\.go_on = '(\w+)' it then goes on from step 2, else from the first step"
    run = re.search(advice, str(caught.value))
    steps = []
    config = with_training(dtype="fp32", go_on=run[1] if named else "")
    train_tokenizer(job_of(shards, config), on_step=lambda step, metrics: steps.append(step))
    assert steps == ([3, 4] if named else [1, 2, 3, 4])


def test_a_checkpoint_that_does_not_fit_names_the_folder_to_delete(shards):
    with pytest.raises(KeyboardInterrupt):
        train_tokenizer(job_of(shards, CONFIG), on_step=killed_after(3))
    [folder] = {key.rsplit("/", 1)[0] for key in shards.list_blobs("models") if key.endswith(".safetensors")}
    Checkpoints(shards, folder).save(3, {"other": torch.zeros(2)}, {"curve": []})
    with pytest.raises(UserError, match="do not fit the networks") as caught:
        train_tokenizer(job_of(shards, CONFIG))
    shutil.rmtree(Path(shards.root, re.search(r"delete the folder (\S+) of the root", str(caught.value))[1]))
    assert train_tokenizer(job_of(shards, CONFIG)).steps == 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_auto_and_cpu_train(shards):
    with pytest.raises(UserError, match="torch sees no GPU here; set it to 'auto' or 'cpu'"):
        train_tokenizer(job_of(shards, with_training(device="cuda")))
    for device in ("auto", "cpu"):
        train_tokenizer(job_of(shards, with_training(device=device)))


def test_a_window_longer_than_a_clip_is_lowered(shards):
    long = dataclasses.replace(CONFIG, tokenizer=dataclasses.replace(CONFIG.tokenizer, window=13))
    with pytest.raises(UserError, match=r"clips of 12 frames hold no window of 13: lower tokenizer\.window"):
        train_tokenizer(job_of(shards, long))
    train_tokenizer(job_of(shards, dataclasses.replace(long, tokenizer=dataclasses.replace(long.tokenizer, window=12))))


def test_shards_that_hold_a_video_that_was_taken_down_are_written_again(tmp_path):
    store = finished_store(tmp_path / "root")
    config = dataclasses.replace(PIPELINE_CONFIG, training=with_training(seed=9).training)
    rows = store.read("curated").to_pylist()
    video = next(row["video_id"] for row in rows if row["split"] == "train" and row["decision"] == "keep")
    request_takedown(store, "video", video, "asked")
    with pytest.raises(UserError, match="materialize `training_shards` again, then train"):
        train_tokenizer(Job(store, config, home_of(store)))
    write_shards(Job(store, config, home_of(store)))
    # the synthetic clips are no videos: it is these that stop the training now
    with pytest.raises(UserError, match="training clips cannot be used"):
        train_tokenizer(Job(store, config, home_of(store)))
