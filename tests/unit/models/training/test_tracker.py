"""The metrics of every step reach a tracker once: TensorBoard's event files by default, or one like a run of W&B."""

import dataclasses
import math

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models.training.event_files import EventFiles
from models.training.tracker import TrackedRun
from models.training.train import train_tokenizer, train_world_model
from tests.synthetic import job_of
from tests.trainings import CONFIG, add_training_shards, killed_after


@pytest.fixture
def shards(store):
    return add_training_shards(store)


def events(job, kind):
    """The only run of a kind, as TensorBoard reads it."""
    [folder] = job.home.tensorboard.glob(f"{kind}-*")
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return found


def steps_of(job, kind, tag="train/loss"):
    return [event.step for event in events(job, kind).Scalars(tag)]


def test_tensorboard_reads_every_metric_of_every_step_and_the_settings(shards):
    job, told = job_of(shards, CONFIG), []
    train_tokenizer(job, on_step=lambda step, metrics: told.append((step, metrics)))
    found = events(job, "video_tokenizer")
    own = {name for name in told[0][1] if "/" not in name}
    assert set(found.Tags()["scalars"]) == {f"train/{name}" for name in own} | {
        f"rate/{name}" for name in ("samples_per_s", "frames_per_s", "utilisation", "hours_left")
    }
    for name in own:
        shown = [(event.step, event.value) for event in found.Scalars(f"train/{name}")]
        assert shown == [(step, pytest.approx(metrics[name], rel=1e-6)) for step, metrics in told]
    [settings] = found.Tensors(found.Tags()["tensors"][0])
    assert b'"codebook_size": 32' in settings.tensor_proto.string_val[0]


def test_a_killed_run_goes_on_without_a_step_twice_or_missing(shards):
    job = job_of(shards, CONFIG)
    train_tokenizer(job)
    for at in (2, 5, 6):  # before the first checkpoint is used, between two, and again in the same second
        with pytest.raises(KeyboardInterrupt):
            train_world_model(job, on_step=killed_after(at))
        assert steps_of(job, "world_model", "train/lam_loss") == list(range(1, at + 1)), "written when it happened"
    train_world_model(job)
    assert steps_of(job, "world_model", "train/lam_loss") == [1, 2, 3, 4, 5, 6, 7]
    assert steps_of(job, "world_model") == [4, 5, 6, 7]


def test_nothing_is_written_where_no_tracker_is_wanted_nor_for_a_model_that_is_there(shards):
    off = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, tracker="none"))
    job = job_of(shards, off)
    train_tokenizer(job)
    train_tokenizer(job_of(shards, CONFIG))
    assert not job.home.tensorboard.exists()


class Run:
    """What `wandb.init` returns, as far as it is used."""

    def __init__(self, run):
        self.run, self.config, self.logged, self.finished = run, dict(run.config), [], 0

    def log(self, data, step=None, commit=None):
        self.logged.append((step, data))

    def finish(self, exit_code=None, quiet=None):
        self.finished += 1


def test_a_run_of_weights_and_biases_can_take_the_place_of_the_files(shards):
    job, runs = job_of(shards, CONFIG), []

    def init(run):
        runs.append(Run(run))
        return runs[-1]

    with pytest.raises(KeyboardInterrupt):
        train_tokenizer(job, on_step=killed_after(3), make_tracker=init)
    train_tokenizer(job, make_tracker=init)
    train_tokenizer(job, make_tracker=init)  # it is there: nothing is tracked
    first, second = runs
    assert [step for step, _ in first.logged] == [1, 2, 3]
    assert [step for step, _ in second.logged] == [3, 4]
    assert (first.finished, second.finished) == (1, 1), "a run that failed is finished too"
    assert first.run.run_id == second.run.run_id
    assert second.run.first_step == 2
    assert first.config["tokenizer"]["codebook_size"] == 32
    assert all(math.isfinite(value) for _, data in first.logged for value in data.values())
    assert not job.home.tensorboard.exists()


def test_a_number_that_no_tensorboard_can_draw_does_not_end_a_training(tmp_path):
    files = EventFiles(TrackedRun("a", "world_model", {}, 0), tmp_path)
    files.log({"train/loss": math.nan, "train/big": 1e300}, step=1)
    files.finish()
    assert EventAccumulator(str(tmp_path / "world_model-a")).Reload().Scalars("train/big")[0].value == math.inf
