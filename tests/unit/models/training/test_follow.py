"""A person sees a training on its way, and the training does not notice: the same weights to the bit."""

import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models.sheets import bounded
from models.training.event_files import EventFiles
from models.training.follow import draws, interval
from models.training.tracker import TrackedRun
from models.training.train import train_tokenizer, train_world_model
from pipeline.config.training import TrainingConfig
from pipeline.storage.models_table import all_models
from pipeline.storage.run_pictures import list_pictures, write_picture
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from pipeline.takedown.home import pictures_of, take_out_of_home
from pipeline.takedown.mentions import Mentions
from tests.shards import add_shards
from tests.synthetic import job_of
from tests.trainings import CONFIG, add_training_shards, clip_id, killed_after, mp4, weights

KINDS = ("video_tokenizer", "world_model")


def followed(**changes):
    training = {"validate_every": 1, "validation_windows": 3, "pictures": 3, **changes}
    return dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, **training))


def trained(root, config, *kills):
    """Train both models, killed after some steps of the world, and return the job and what was said."""
    said = []
    job = dataclasses.replace(job_of(add_training_shards(Store(root)), config), on_progress=said.append)
    train_tokenizer(job)
    for at in kills:
        with pytest.raises(KeyboardInterrupt):
            train_world_model(job, on_step=killed_after(at))
    train_world_model(job)
    return job, said


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same two trainings: alone, and followed at every step and killed twice."""
    folder = tmp_path_factory.mktemp("runs")
    plain, _ = trained(folder / "plain", followed(validate_every=0))
    return plain, *trained(folder / "followed", followed(), 4, 6)


def curve(store, kind):
    [key] = [key for key in store.list_blobs(f"models/{kind}") if key.endswith("curve.json")]
    return json.loads(store.read_blob(key))


def test_a_training_that_is_followed_and_killed_has_the_weights_of_one_that_is_neither(runs):
    plain, seen, _ = runs
    for kind in KINDS:
        assert weights(plain.store, kind) == weights(seen.store, kind)
        own = [{name: value for name, value in point.items() if "/" not in name} for point in curve(seen.store, kind)]
        assert own == curve(plain.store, kind)
        assert all("held_out/" in "".join(point) for point in curve(seen.store, kind))


def test_what_is_measured_on_held_out_clips_is_said_of_each_phase(runs):
    _, seen, _ = runs
    tokenizer, world = (curve(seen.store, kind) for kind in KINDS)
    assert set(tokenizer[0]) >= {"held_out/psnr", "held_out/codes_used", "held_out/codebook_usage"}
    alone, joint = world[0], world[-1]
    assert {name for name in alone if "/" in name} == {"held_out/lam_psnr", "held_out/lam_psnr_copy"}
    shares = [joint[f"held_out/action_{number}"] for number in range(1, 9)]
    assert sum(shares) == pytest.approx(1, abs=1e-5), "each is rounded"
    assert set(joint) >= {"held_out/cross_entropy", "held_out/accuracy", "held_out/codes_used"}


def test_tensorboard_shows_curves_rates_and_pictures_of_a_run_that_was_killed_once_each(runs):
    _, seen, _ = runs
    [folder] = seen.home.tensorboard.glob("world_model-*")
    scalars = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    assert [event.step for event in scalars.Scalars("held_out/lam_psnr")] == [1, 2, 3, 4, 5, 6, 7]
    assert scalars.Scalars("rate/utilisation")[-1].value > 0
    pictures = EventAccumulator(str(folder / "pictures"), size_guidance={"images": 0}).Reload()
    shown = pictures.Images("held_out/rollouts")
    assert [event.step for event in shown] == [3, 5, 7]
    with Image.open(io.BytesIO(shown[-1].encoded_image_string)) as picture:
        assert picture.size == (shown[-1].width, shown[-1].height)
        # true frames, own actions, eight actions held; a start and eight frames
        assert picture.size == (132 + 9 * 36, 20 + 10 * 20)


def test_pictures_in_the_store_are_few_and_name_their_clips(runs):
    _, seen, said = runs
    for kind in KINDS:
        [folder] = {key.rpartition("/")[0] for key in seen.store.list_blobs("reports/training") if kind in key}
        found = list_pictures(seen.store, folder)
        assert len(found) == 3
        assert all(picture.clip_ids and set(picture.clip_ids) <= {clip_id(4), clip_id(5)} for picture in found)
        assert any(f"picture {found[-1].key}" in line for line in said)


def test_the_row_says_how_fast_it_was_and_what_following_cost(runs):
    _, seen, _ = runs
    for row in all_models(seen.store):
        metrics = row.metrics
        assert 0 < metrics["followed_share"] <= 1
        assert metrics["samples_per_s"] > 0
        assert metrics["frames_per_s"] == pytest.approx(4 * metrics["samples_per_s"], rel=0.01)
        assert metrics["utilisation"] > 0
        assert "hours_left" not in metrics


def test_a_takedown_finds_every_picture_of_a_clip_in_tensorboard_and_one_that_nothing_describes(runs):
    _, seen, _ = runs

    def of(number):
        return pictures_of(seen.home, Mentions(videos=frozenset({f"site-v{number}"})))

    files = {
        path: json.loads(path.with_name(f"{path.name}.json").read_text("utf-8"))["clips"]
        for path in seen.home.tensorboard.glob("*/pictures/*")
        if path.suffix != ".json"
    }
    assert len(files) == 6
    assert of(0) == []
    assert set(of(4)) == {path for path, clips in files.items() if clip_id(4) in clips} != set()
    damaged = sorted(files)[0]
    damaged.with_name(f"{damaged.name}.json").write_text("{", "utf-8")
    assert of(0) == [damaged]
    before = {path: path.read_bytes() for path in seen.home.tensorboard.rglob("*") if path.is_file()}
    assert take_out_of_home(seen.home, Mentions(videos=frozenset({"site-v0"}))).files == [damaged]
    gone = {path for path in before if not path.exists()}
    assert gone == {damaged, damaged.with_name(f"{damaged.name}.json")}


def test_a_clip_that_is_taken_down_meanwhile_is_in_no_later_picture(store):
    shards = add_training_shards(store)

    def take_down(step, metrics):
        if step == 2:
            request_takedown(store, "video", "site-v4", "asked")
        if step == 3:
            request_takedown(store, "video", "site-v5", "asked")

    said = []
    job = dataclasses.replace(job_of(shards, followed(pictures=4)), on_progress=said.append)
    train_tokenizer(job, on_step=take_down)
    [folder] = {key.rpartition("/")[0] for key in store.list_blobs("reports/training")}
    clips = [set(picture.clip_ids) for picture in list_pictures(store, folder)]
    assert clips == [{clip_id(4), clip_id(5)}, {clip_id(4), clip_id(5)}, {clip_id(5)}]
    assert any("the held-out clips were taken down: no picture" in line for line in said)


def test_without_a_held_out_source_it_says_so_once_and_trains(store):
    add_shards(store, {"train": {clip_id(n): mp4(n) for n in range(4)}})
    said = []
    report = train_tokenizer(dataclasses.replace(job_of(store, followed()), on_progress=said.append))
    assert report.steps == 4
    assert [line for line in said if "no source is held out (split.val_share)" in line] == [
        "video_tokenizer: no source is held out (split.val_share), so nothing is measured on the way"
    ]
    assert store.list_blobs("reports/training") == []


def test_measurements_that_take_much_of_the_time_say_which_setting_to_change(store):
    shards = add_training_shards(store)

    def advice(root_store, **changes):
        said = []
        train_tokenizer(
            dataclasses.replace(job_of(root_store, followed(pictures=0, **changes)), on_progress=said.append)
        )
        return [line for line in said if "measurements on the way take" in line]

    [line] = advice(shards, validation_windows=64)
    assert "raise training.validate_every (now 1), or lower training.validation_windows (now 64)" in line
    other = dataclasses.replace(
        followed(validate_every=3, pictures=0), tokenizer=dataclasses.replace(CONFIG.tokenizer, steps=5)
    )
    said = []
    train_tokenizer(dataclasses.replace(job_of(shards, other), on_progress=said.append))
    assert not any("measurements on the way take" in line for line in said)


def test_more_windows_than_the_held_out_clips_hold_are_not_measured_and_that_is_said(store):
    """Two held-out clips of 12 frames hold 6 windows of 4 side by side; 100,000 would take hours at each step."""
    said = []
    config = followed(validation_windows=100_000, eval_windows=100_000, pictures=0)
    job = dataclasses.replace(job_of(add_training_shards(store), config), on_progress=said.append)
    report = train_tokenizer(job)
    assert report.metrics["windows"] == 6
    hold = "the 2 clips to measure on hold 6 windows of 4 frames side by side, and these are measured"
    assert [line for line in said if "side by side" in line] == [
        f"training.validation_windows = 100,000: {hold}",
        f"training.eval_windows = 100,000: {hold}",
    ]
    # a world is measured on windows of its context too; rollouts, which are longer, begin with them
    said.clear()
    assert train_world_model(job).metrics["windows"] == 6
    assert next(line for line in said if "side by side" in line) == f"training.validation_windows = 100,000: {hold}"


def test_a_warm_up_longer_than_the_training_is_told_before_its_first_step(store):
    slow = dataclasses.replace(CONFIG.tokenizer.optimizer, warmup_steps=10_000)
    config = dataclasses.replace(CONFIG, tokenizer=dataclasses.replace(CONFIG.tokenizer, optimizer=slow))
    said, before = [], []
    job = dataclasses.replace(job_of(add_training_shards(store), config), on_progress=said.append)
    train_tokenizer(job, on_step=lambda step, metrics: before.append(list(said)))
    [line] = [line for line in before[0] if "warmup_steps" in line]
    assert line.startswith("video_tokenizer: tokenizer.optimizer.warmup_steps = 10,000 is longer than the 4 steps")


@pytest.mark.parametrize("steps", [1, 80, 2800, 125_000, 3_000_000])
def test_however_long_a_training_is_measurements_and_pictures_are_bounded(steps):
    for every, most in ((1, 8), (50, 8), (1000, 3)):
        config = TrainingConfig(validate_every=every, pictures=most)
        apart = interval(config, steps)
        assert apart >= every
        count = steps // apart
        assert count <= 1000
        assert sum(draws(number, count, config) for number in range(1, count + 1)) == min(most, count)
    assert interval(TrainingConfig(validate_every=0), steps) == 0


def test_event_files_of_a_long_run_keep_as_many_steps_as_they_may_and_every_measurement(tmp_path):
    files = EventFiles(TrackedRun("a", "world_model", {}, 0, 1000), tmp_path, most_steps=50)
    for step in range(1, 1001):
        files.log({"train/loss": 1.0, **({"held_out/psnr": 2.0} if step % 333 == 0 else {})}, step=step)
    files.finish()
    found = EventAccumulator(str(tmp_path / "world_model-a"), size_guidance={"scalars": 0}).Reload()
    assert [event.step for event in found.Scalars("held_out/psnr")] == [333, 666, 999]
    assert len(found.Scalars("train/loss")) == 53


def test_a_picture_is_no_larger_than_it_may_be(store):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8))
    for most, ending in ((400_000, "png"), (60_000, "jpg"), (3_000, "jpg")):
        data, kind = bounded(noise, most)
        assert (len(data) <= most, kind) == (True, ending)
        Image.open(io.BytesIO(data)).verify()
    for step in (1, 2, 3, 4, 2):
        write_picture(store, "reports/training/x", step, b"x" * step, "png", ["c"], 3)
    assert [(one.step, one.clip_ids) for one in list_pictures(store, "reports/training/x")] == [(2, ["c"])]
