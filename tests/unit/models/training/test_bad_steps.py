"""A step whose numbers are bad ends the run, is skipped, or takes the run back, as `training.on_bad_step` says."""

import dataclasses
import math
import re
import shutil

import pytest

from models.networks.dynamics import Dynamics
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.training.bad_steps import BadSteps
from models.training.checkpoint import Checkpoints
from models.training.finite import BadStepError, LossSpikeError, NotFiniteError
from models.training.loop import run
from models.training.spikes import SpikeWatch
from models.training.train import train_tokenizer, train_world_model
from pipeline.config.training import TrainingConfig
from pipeline.errors import UserError
from pipeline.storage.models_table import newest_model
from pipeline.storage.store import Store
from tests.synthetic import job_of
from tests.trainings import CONFIG, add_training_shards, killed_after, weights
from tests.unit.models.training.test_loop import Counting


class Rate:
    """What a policy changes of an optimizer."""

    rate_share, spikes = 1.0, None


class Faulty(Counting):
    """A training of nine steps whose gradient is not finite in some of them: step (from 1) -> how often."""

    def __init__(self, bad, applied=False):
        super().__init__(9)
        self.bad, self.applied, self.optimizer, self.shares = dict(bad), applied, Rate(), []

    def step(self, step):
        if self.bad.get(step + 1):
            self.bad[step + 1] -= 1
            self.value += self.applied
            raise NotFiniteError("the gradient has the norm nan", applied=self.applied)
        self.shares.append(self.optimizer.rate_share)
        return super().step(step)

    def optimizers(self):
        return {"optimizer": self.optimizer}


def policy(training, **settings):
    return BadSteps(TrainingConfig(**settings), training.optimizers())


def counts(bad_steps):
    found = bad_steps.metrics()
    return found["skipped_steps"], found["rolled_back"], found["learning_rate_share"]


@pytest.fixture
def checkpoints(store):
    return Checkpoints(store, "models/x/checkpoints")


def test_a_bad_step_is_skipped_and_its_checkpoint_is_written_all_the_same(checkpoints):
    training, said = Faulty({4: 1, 9: 1}), []
    skips = policy(training, on_bad_step="skip")
    curve = run(training, checkpoints, stage="x", checkpoint_every=4, on_progress=said.append, bad_steps=skips)
    assert training.value == 7
    assert [point["step"] for point in curve] == [1, 2, 3, 5, 6, 7, 8]
    assert checkpoints.steps() == [8, 9]
    assert "x: the gradient has the norm nan at step 4: it changes no weight (training.on_bad_step = 'skip')" in said
    assert counts(skips) == (2, 0, 1.0)
    assert skips.metrics()["bad_steps"][0] == "skip at step 4: the gradient has the norm nan"


@pytest.mark.parametrize("how", ["skip", "roll_back"])
def test_no_more_steps_than_allowed_are_skipped_or_rolled_back(checkpoints, how):
    training = Faulty({5: 3})
    bounded = policy(training, on_bad_step=how, max_bad_steps=2)
    training.bad |= {6: 1, 7: 1} if how == "skip" else {}
    with pytest.raises(
        NotFiniteError, match=r"x: the gradient .* at step [57] of 9\. The checkpoint of step 4 is good"
    ):
        run(training, checkpoints, stage="x", checkpoint_every=4, bad_steps=bounded)
    assert len(bounded.found) == 2
    training.bad = dict.fromkeys(training.bad, 1)
    more = policy(training, on_bad_step=how, max_bad_steps=3)
    run(training, checkpoints, stage="x", checkpoint_every=4, bad_steps=more)
    assert checkpoints.latest().step == 9


def test_a_step_that_has_changed_weights_is_not_skipped(checkpoints):
    training = Faulty({6: 1}, applied=True)
    with pytest.raises(NotFiniteError):
        run(training, checkpoints, stage="x", checkpoint_every=4, bad_steps=policy(training, on_bad_step="skip"))


@pytest.mark.parametrize("applied", [False, True])
def test_a_run_goes_back_to_its_last_checkpoint_at_a_lower_rate(checkpoints, applied):
    training, said, tracked = Faulty({7: 2, 9: 1}, applied), [], []

    class Track:
        def log(self, data, step):
            tracked[-1].append(step)

        def finish(self):
            tracked[-1].append("end")

    def make(first):
        tracked.append([first])
        return Track()

    back = policy(training, on_bad_step="roll_back", roll_back_rate=0.25)
    curve = run(
        training, checkpoints, stage="x", checkpoint_every=4, on_progress=said.append, bad_steps=back, make_tracker=make
    )
    assert training.value == 9, "as if nothing had happened"
    assert [point["step"] for point in curve] == list(range(1, 10))
    assert training.shares == [1] * 6 + [0.25] * 2 + [0.0625] * 4 + [0.015625]
    assert tracked == [[0, 1, 2, 3, 4, 5, 6, "end"], [4, 5, 6, "end"], [4, 5, 6, 7, 8, "end"], [8, 9, "end"]]
    lines = [line for line in said if "norm nan" in line]
    assert lines[0].endswith(
        "at step 7: back to step 4, at 0.25 of the learning rate (training.on_bad_step = 'roll_back')"
    )
    assert counts(back) == (0, 3, 0.015625)
    assert checkpoints.latest().about["bad_steps"]["rate"] == 0.015625


@pytest.mark.parametrize("keeps", [True, False])
def test_before_its_first_checkpoint_a_run_goes_back_to_its_first_step(checkpoints, keeps):
    training = Faulty({3: 1})
    back = policy(training, on_bad_step="roll_back")
    curve = run(training, checkpoints if keeps else None, stage="x", checkpoint_every=4, bad_steps=back)
    assert training.value == 9
    assert [point["step"] for point in curve] == list(range(1, 10))
    assert training.shares == [1] * 2 + [0.5] * 9


def test_what_was_skipped_and_the_lower_rate_outlive_the_process(checkpoints):
    training = Faulty({2: 1})
    with pytest.raises(KeyboardInterrupt):
        run(
            training, checkpoints, stage="x", checkpoint_every=4, on_step=killed_after(6),
            bad_steps=policy(training, on_bad_step="roll_back"),
        )  # fmt: skip
    again = Faulty({6: 1})
    goes_on = policy(again, on_bad_step="skip")
    run(again, checkpoints, stage="x", checkpoint_every=4, bad_steps=goes_on)
    assert again.shares == [0.5] * 4
    assert counts(goes_on) == (1, 1, 0.5)


def test_a_spike_is_told_from_the_seventeenth_loss_on_and_does_not_count_among_those_before():
    watch = SpikeWatch(3.0)
    for loss in [9.0, 1.0, 5.0] + [1.0] * 13:
        watch.check(loss, "dynamics")
    watch.check(2.9, "dynamics")
    for spike in (3.1, math.inf):
        with pytest.raises(
            LossSpikeError, match=r"the loss of dynamics is .* more than training.spike_factor = 3 times 1"
        ):
            watch.check(spike, "dynamics")
    assert len(watch.losses) == 17
    for _ in range(99):
        watch.check(2.0, "dynamics")
    assert len(watch.losses) == 64
    watch.check(5.9, "dynamics")


def test_a_factor_that_every_other_loss_is_above_is_refused_and_what_the_error_names_is_not():
    with pytest.raises(UserError, match=r"training.spike_factor = 1: .* take more than 1, as 3 or 10, or 0 for no lim"):
        TrainingConfig(spike_factor=1.0)
    for factor in (0, 1.01, 3, 10):
        TrainingConfig(spike_factor=factor)


# --- real trainings ---


def with_training(**changes):
    return dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, **changes))


def spoil(monkeypatch, network, calls, factor=math.nan):
    """Multiply the loss of a network in some calls (from 1)."""
    # the dynamics also gives what it predicts
    name = "loss_and_guess" if hasattr(network, "loss_and_guess") else "loss"
    loss, count = getattr(network, name), []

    def spoiled(self, *args, **kwargs):
        count.append(None)
        found = loss(self, *args, **kwargs)
        if len(count) not in calls:
            return found
        return (found[0] * factor, *found[1:]) if isinstance(found, tuple) else found * factor

    monkeypatch.setattr(network, name, spoiled)


@pytest.fixture
def shards(store):
    return add_training_shards(store)


def test_a_tokenizer_that_went_back_and_whose_rate_stays_has_the_weights_of_one_that_did_not(
    shards, tmp_path, monkeypatch
):
    train_tokenizer(job_of(shards, CONFIG))
    other = add_training_shards(Store(tmp_path / "other"))
    spoil(monkeypatch, VideoTokenizer, {4})
    back = with_training(on_bad_step="roll_back", roll_back_rate=1.0)
    assert train_tokenizer(job_of(other, back)).metrics["rolled_back"] == 1
    assert weights(other, "video_tokenizer") == weights(shards, "video_tokenizer")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A root with a tokenizer, and the weights of a world on it of which no step was bad."""
    before, after = (tmp_path_factory.mktemp("undisturbed") / name for name in ("before", "after"))
    train_tokenizer(job_of(add_training_shards(Store(before)), CONFIG))
    shutil.copytree(before, after)
    train_world_model(job_of(Store(after), with_training(checkpoint_every=5)))
    return before, weights(Store(after), "world_model")


@pytest.mark.parametrize(
    ("network", "call"),
    [
        pytest.param(Dynamics, 1, id="the first step of both"),
        pytest.param(LatentActionModel, 2, id="a step of the LAM alone", marks=pytest.mark.slow),
        pytest.param(LatentActionModel, 6, id="a step of both", marks=pytest.mark.slow),
    ],
)
def test_so_has_a_world_that_went_back_to_before_its_codes_began(undisturbed, tmp_path, monkeypatch, network, call):
    before, expected = undisturbed
    shutil.copytree(before, tmp_path / "root")
    store = Store(tmp_path / "root")
    spoil(monkeypatch, network, {call})
    back = with_training(checkpoint_every=5, on_bad_step="roll_back", roll_back_rate=1.0)
    assert train_world_model(job_of(store, back)).metrics["rolled_back"] == 1
    assert weights(store, "world_model") == expected


def test_a_batch_that_was_skipped_changes_no_weight_and_a_kill_after_it_none_either(shards, tmp_path, monkeypatch):
    skips = with_training(on_bad_step="skip", checkpoint_every=1)
    other = add_training_shards(Store(tmp_path / "other"))
    with monkeypatch.context() as patch:
        spoil(patch, VideoTokenizer, {2})
        whole = train_tokenizer(job_of(shards, skips))
    assert whole.metrics["skipped_steps"] == 1
    row = newest_model(shards, "video_tokenizer")
    assert row.metrics["bad_steps"] == ["skip at step 2: the gradient of tokenizer has the norm nan"]
    with monkeypatch.context() as patch:
        spoil(patch, VideoTokenizer, {2})
        with pytest.raises(KeyboardInterrupt):
            train_tokenizer(job_of(other, skips), on_step=killed_after(3))
    assert train_tokenizer(job_of(other, skips)).metrics["skipped_steps"] == 1
    assert weights(other, "video_tokenizer") == weights(shards, "video_tokenizer")


def test_a_spike_of_the_loss_is_not_applied_and_each_way_that_the_error_names_goes_on(shards, monkeypatch):
    long = dataclasses.replace(CONFIG, tokenizer=dataclasses.replace(CONFIG.tokenizer, steps=20))
    spiky = dataclasses.replace(long, training=dataclasses.replace(CONFIG.training, spike_factor=5.0))
    with monkeypatch.context() as patch:
        spoil(patch, VideoTokenizer, {18}, 50)
        with pytest.raises(LossSpikeError, match=r"at step 18 of 20\. The checkpoint of step 16 is good") as caught:
            train_tokenizer(job_of(shards, spiky))
    error = str(caught.value)
    assert "raise training.spike_factor (now 5)" in error
    assert "goes on from step 16: set training.on_bad_step = 'skip'" in error
    taken = []
    for changes, first in (
        ({"on_bad_step": "skip"}, 17),
        ({"spike_factor": 1000.0, "go_on": re.search(r"training.go_on = '(\w+)'", error)[1]}, 21),
    ):
        steps = []
        with monkeypatch.context() as patch:
            spoil(patch, VideoTokenizer, {2}, 50)
            config = dataclasses.replace(spiky, training=dataclasses.replace(spiky.training, **changes))
            if "go_on" in changes:
                config = dataclasses.replace(config, tokenizer=dataclasses.replace(config.tokenizer, steps=22))
            train_tokenizer(job_of(shards, config), on_step=lambda step, metrics, steps=steps: steps.append(step))
        taken.append(steps)
        assert steps[0] == first
    assert taken == [[17, 19, 20], [21, 22]]


@pytest.mark.parametrize("how", ["skip", "roll_back"])
def test_a_run_that_ended_at_a_bad_step_goes_on_under_each_policy_that_its_error_names(shards, monkeypatch, how):
    with monkeypatch.context() as patch:
        spoil(patch, VideoTokenizer, {3})
        with pytest.raises(BadStepError) as caught:
            train_tokenizer(job_of(shards, CONFIG))
    assert "Or stay with this run, which goes on from step 2: set training.on_bad_step = 'skip' (" in str(caught.value)
    assert "or training.on_bad_step = 'roll_back' (goes back to the last checkpoint, with 0.5 of" in str(caught.value)
    steps = []
    with monkeypatch.context() as patch:
        spoil(patch, VideoTokenizer, {1})
        report = train_tokenizer(
            job_of(shards, with_training(on_bad_step=how)), on_step=lambda step, metrics: steps.append(step)
        )
    assert steps == ([4] if how == "skip" else [3, 4])
    assert report.metrics["skipped_steps" if how == "skip" else "rolled_back"] == 1
