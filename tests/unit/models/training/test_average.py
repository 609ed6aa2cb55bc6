"""With `training.ema_decay` a model has the averaged weights; the run takes the same steps, and resumes to the bit."""

import dataclasses
import shutil

import pytest
import torch
from safetensors.torch import load

from models.runtime.weights import WeightsError
from models.training.average import AveragedTraining
from models.training.checkpoint import Checkpoints
from models.training.train import train_tokenizer, train_world_model
from pipeline.model_ids import tokenizer_settings_id, world_settings_id
from pipeline.storage.models_table import newest_model
from pipeline.storage.store import Store
from tests.synthetic import job_of
from tests.trainings import CONFIG, add_training_shards, killed_after, weights

AVERAGED = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, ema_decay=0.5))


class Walk:
    """A training whose one weight is the number of steps taken, and whose code is ten times that."""

    def __init__(self, total_steps=6, alone_steps=0):
        self.total_steps, self.alone_steps = total_steps, alone_steps
        self.network = torch.nn.Linear(1, 1, bias=False)
        self.network.codebook = torch.nn.Parameter(torch.zeros(1))
        self.network.requires_grad_(False)

    def step(self, step):
        self.network.weight.fill_(step + 1)
        self.network.codebook.fill_(10 * (step + 1))
        return {}

    def networks(self):
        return {"network": self.network}

    def tensors(self):
        return {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}

    def load(self, tensors):
        self.network.load_state_dict({name.removeprefix("network."): tensor for name, tensor in tensors.items()})


def expected(decay, first, last):
    """Return the average of steps, by its definition."""
    value = float(first)
    for since, weight in enumerate(range(first + 1, last + 1), 1):
        kept = min(decay, (1 + since) / (10 + since))
        value = kept * value + (1 - kept) * weight
    return value


@pytest.mark.parametrize("alone", [0, 2])
def test_an_average_is_that_of_the_steps_in_which_all_learn_and_leaves_codes_as_they_are(alone):
    training = AveragedTraining(Walk(alone_steps=alone), 0.25)
    for step in range(6):
        training.step(step)
    walk = training.networks()["network"]
    assert (float(walk.weight), float(walk.codebook)) == (6, 60), "the steps are those of the training alone"
    training.use()
    assert float(walk.weight) == pytest.approx(expected(0.25, alone + 1, 6))
    assert float(walk.codebook) == 60


def test_an_average_goes_on_from_a_checkpoint_and_one_of_other_networks_is_refused():
    whole, first, second = (AveragedTraining(Walk(), 0.5) for _ in range(3))
    for step in range(6):
        whole.step(step)
    for step in range(3):
        first.step(step)
    saved = {name: tensor.clone() for name, tensor in first.tensors().items()}
    second.load(saved)
    for step in range(3, 6):
        second.step(step)
    assert all(torch.equal(tensor, second.tensors()[name]) for name, tensor in whole.tensors().items())
    with pytest.raises(WeightsError, match="its averages are not those of the networks"):
        second.load({**saved, "average.network.weight": torch.zeros(2)})


@pytest.mark.slow
def test_models_have_averaged_weights_and_a_run_that_was_killed_has_the_same(store, tmp_path):
    add_training_shards(store)
    shutil.copytree(store.root, tmp_path / "other")
    other = Store(tmp_path / "other")
    for train, kind in ((train_tokenizer, "video_tokenizer"), (train_world_model, "world_model")):
        train(job_of(store, AVERAGED))
        with pytest.raises(KeyboardInterrupt):
            train(job_of(other, AVERAGED), on_step=killed_after(3))
        train(job_of(other, AVERAGED))
        assert weights(other, kind) == weights(store, kind)
        row = newest_model(store, kind)
        assert row.config["training"]["ema_decay"] == 0.5
        state = Checkpoints(store, f"models/{kind}/runs/{row.inputs['run']}/checkpoints").latest().tensors
        own = {name.removeprefix("average."): tensor for name, tensor in state.items() if name.startswith("average.")}
        published = load(weights(store, kind))
        assert set(own) <= set(published)
        assert all(torch.equal(published[name], tensor) for name, tensor in own.items())
        assert any(not torch.equal(state[name], tensor) for name, tensor in own.items())
        rest = set(published) - set(own)
        assert rest
        assert all(torch.equal(published[name], state[name]) for name in rest), "codes and counts are as they are"


def test_an_average_takes_no_other_steps_and_makes_another_model(store, tmp_path):
    other = add_training_shards(Store(tmp_path / "other"))
    add_training_shards(store)
    states = []
    for root, config in ((store, CONFIG), (other, AVERAGED)):
        train_tokenizer(job_of(root, config))
        run = newest_model(root, "video_tokenizer").inputs["run"]
        states.append(Checkpoints(root, f"models/video_tokenizer/runs/{run}/checkpoints").latest().tensors)
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert tokenizer_settings_id(CONFIG) != tokenizer_settings_id(AVERAGED)
    assert world_settings_id(CONFIG) != world_settings_id(AVERAGED)
