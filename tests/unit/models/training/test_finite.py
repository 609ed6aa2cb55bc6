"""A gradient that is not finite is not applied: the run says where it was, and what helps; its checkpoints are good."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from models.networks.dynamics import Dynamics
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.training.checkpoint import Checkpoints
from models.training.finite import NotFiniteError, what_to_change
from models.training.optimizer import Optimizer
from models.training.train import train_tokenizer, train_world_model
from pipeline.config.world import OptimizerConfig
from pipeline.storage.store import Store
from tests.synthetic import job_of
from tests.trainings import CONFIG, add_training_shards

EVERY = dataclasses.replace(CONFIG.training, checkpoint_every=1)


class Poison(torch.autograd.Function):
    """Adds nothing, and has a gradient that is not finite."""

    @staticmethod
    def forward(ctx, x, bad):
        ctx.bad = bad
        return x.sum() * 0

    @staticmethod
    def backward(ctx, gradient):
        return torch.full((1,), ctx.bad), None


@pytest.fixture
def shards(store):
    return add_training_shards(store)


@pytest.fixture(scope="module")
def with_tokenizer(tmp_path_factory):
    """A root with a tokenizer, on which a world may be trained; copy it, do not write to it."""
    store = add_training_shards(Store(tmp_path_factory.mktemp("tokenizer") / "root"))
    train_tokenizer(job_of(store, CONFIG))
    return Path(store.root)


@pytest.fixture
def tokenized(with_tokenizer, tmp_path):
    return Store(shutil.copytree(with_tokenizer, tmp_path / "tokenized"))


def poison(monkeypatch, network, call, bad):
    """Poison the gradient of one parameter in one call of a network's loss (calls count from 1)."""
    # the dynamics also gives what it predicts
    name = "loss_and_guess" if hasattr(network, "loss_and_guess") else "loss"
    loss, calls = getattr(network, name), []

    def poisoned(self, *args, **kwargs):
        calls.append(None)
        result = loss(self, *args, **kwargs)
        if len(calls) < call:
            return result
        parameter = next(self.parameters()).flatten()[:1]
        first = result[0] if isinstance(result, tuple) else result
        first = first + Poison.apply(parameter, bad)
        return (first, *result[1:]) if isinstance(result, tuple) else first

    monkeypatch.setattr(network, name, poisoned)


@pytest.mark.parametrize(("bad", "threads"), [(math.nan, 1), (math.inf, 2)])
@pytest.mark.parametrize(
    ("network", "section", "step", "total"),
    [
        (VideoTokenizer, "tokenizer", 3, 4),
        (LatentActionModel, "latent_actions", 2, 7),  # while it learns alone
        (LatentActionModel, "latent_actions", 6, 7),  # beside the dynamics
        (Dynamics, "dynamics", 5, 7),
    ],
)
def test_a_gradient_that_is_not_finite_ends_the_run_before_it_reaches_a_checkpoint(
    request, monkeypatch, network, section, step, total, bad, threads
):
    config = dataclasses.replace(CONFIG, training=dataclasses.replace(EVERY, threads=threads))
    alone = section == "tokenizer"
    shards = request.getfixturevalue("shards" if alone else "tokenized")
    train = train_tokenizer if alone else train_world_model
    # each thread has a window; the dynamics starts at the fourth step
    call = threads * (step - (4 if section == "dynamics" else 1)) + 1
    poison(monkeypatch, network, call, bad)
    losses = []
    with pytest.raises(NotFiniteError) as caught:
        train(job_of(shards, config), on_step=lambda now, metrics: losses.append(metrics))
    norm = "(nan|inf)"
    kind = "video_tokenizer" if section == "tokenizer" else "world_model"
    assert caught.match(
        rf"{kind}: the gradient of {section} has the norm {norm} at step {step} of {total}\. The checkpoint of step "
        rf"{step - 1} is good"
    )
    assert f"lower {section}.optimizer.learning_rate (now 0.001)" in str(caught.value)
    assert all(math.isfinite(value) for metrics in losses for value in metrics.values()), "no metric shows it"
    [folder] = {key.rsplit("/", 1)[0] for key in shards.list_blobs(f"models/{kind}") if "checkpoints" in key}
    found = Checkpoints(shards, folder)
    assert found.steps() == [number for number in (step - 2, step - 1) if number]
    for kept in found.steps():
        assert all(bool(tensor.isfinite().all()) for tensor in found.read(kept).tensors.values())


def test_a_gradient_that_is_not_finite_changes_neither_weights_nor_state():
    network = torch.nn.Linear(3, 1)
    optimizer = Optimizer(network, OptimizerConfig(), 10, "dynamics")
    optimizer.step(network(torch.ones(1, 3)).sum(), 0)
    before = {name: tensor.clone() for name, tensor in {**network.state_dict(), **optimizer.tensors()}.items()}
    with pytest.raises(NotFiniteError, match="the gradient of dynamics has the norm nan"):
        optimizer.step(network(torch.ones(1, 3)).sum() * math.nan, 1)
    after = {**network.state_dict(), **optimizer.tensors()}
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_training_that_diverges_says_which_setting_to_lower_and_with_it_lowered_it_ends_well(shards):
    wild = OptimizerConfig(learning_rate=1e19, final_learning_rate=1e19, warmup_steps=0)
    config = dataclasses.replace(CONFIG, tokenizer=dataclasses.replace(CONFIG.tokenizer, optimizer=wild, steps=9))
    with pytest.raises(NotFiniteError, match=r"lower tokenizer\.optimizer\.learning_rate \(now 1e\+19\); the training"):
        train_tokenizer(job_of(shards, config))
    calm = dataclasses.replace(wild, learning_rate=1e-3, final_learning_rate=1e-3)
    config = dataclasses.replace(CONFIG, tokenizer=dataclasses.replace(CONFIG.tokenizer, optimizer=calm, steps=9))
    assert train_tokenizer(job_of(shards, config)).steps == 9


def test_fp32_is_named_only_where_it_is_a_change():
    error = NotFiniteError("the loss is nan")
    assert "training.dtype" not in what_to_change(CONFIG, "world_model", "run", error, None)
    half = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, dtype="bf16"))
    advice = what_to_change(half, "world_model", "run", error, None)
    assert "or set training.dtype = 'fp32' (now 'bf16')" in advice
    assert "latent_actions.optimizer.learning_rate (now 0.001) and dynamics.optimizer.learning_rate" in advice


def test_the_curve_holds_gradient_norms_and_learning_rates_of_all_networks(tokenized):
    first, second = train_tokenizer(job_of(tokenized, CONFIG)), train_world_model(job_of(tokenized, CONFIG))
    assert first.skipped, "it is there"
    curve = json.loads(tokenized.read_blob(f"models/video_tokenizer/{first.model_id}/curve.json"))
    assert all(point["gradient_norm"] > 0 for point in curve)
    rates = [point["learning_rate"] for point in curve]
    assert rates[0] == 1e-3
    assert rates[-1] == pytest.approx(1e-4)
    curve = json.loads(tokenized.read_blob(f"models/world_model/{second.model_id}/curve.json"))
    assert all(point["lam_gradient_norm"] > 0 and point["lam_learning_rate"] > 0 for point in curve)
    assert ["gradient_norm" in point and "learning_rate" in point for point in curve] == [False] * 3 + [True] * 4
