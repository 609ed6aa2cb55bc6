"""Trainings that begin with another model or run: extended, gone on from, started from; each with its lineage."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from models.training.checkpoint import Checkpoints
from models.training.train import train_tokenizer, train_world_model, world_model_is_current
from models.world.load import load_world
from pipeline.errors import UserError
from pipeline.model_choice import models_in_use
from pipeline.storage.models_table import all_models, find_model
from pipeline.storage.store import Store
from tests.synthetic import job_of
from tests.trainings import CONFIG, add_training_shards, clip_id, killed_after, mp4


@pytest.fixture
def shards(store):
    return add_training_shards(store)


@pytest.fixture(scope="module")
def with_tokenizer(tmp_path_factory):
    """A root with a tokenizer; copy it, do not write to it."""
    store = add_training_shards(Store(tmp_path_factory.mktemp("tokenizer") / "root"))
    train_tokenizer(job_of(store, CONFIG))
    return Path(store.root)


@pytest.fixture(scope="module")
def with_world(with_tokenizer, tmp_path_factory):
    """A copy of that root with a world on the tokenizer; copy it, do not write to it."""
    store = Store(shutil.copytree(with_tokenizer, tmp_path_factory.mktemp("world") / "root"))
    train_world_model(job_of(store, CONFIG))
    return Path(store.root)


@pytest.fixture
def trained(with_tokenizer, tmp_path):
    return Store(shutil.copytree(with_tokenizer, tmp_path / "trained"))


@pytest.fixture
def trained_world(with_world, tmp_path):
    return Store(shutil.copytree(with_world, tmp_path / "trained"))


def changed(config=CONFIG, **sections):
    """A configuration with settings of sections changed: tokenizer={"steps": 9}."""
    return dataclasses.replace(
        config, **{name: dataclasses.replace(getattr(config, name), **values) for name, values in sections.items()}
    )


def slower(section, config=CONFIG):
    optimizer = dataclasses.replace(getattr(config, section).optimizer, learning_rate=2e-4)
    return changed(config, **{section: {"optimizer": optimizer}})


def train(store, config, kind, **kwargs):
    """Train, and return the report, the row, its curve's steps, what was said, and the steps that were taken."""
    said, steps = [], []
    job = dataclasses.replace(job_of(store, config), on_progress=said.append)
    function = train_tokenizer if kind == "video_tokenizer" else train_world_model
    report = function(job, on_step=lambda step, metrics: steps.append(step), **kwargs)
    return report, find_model(store, kind, report.model_id), said, steps


def weights_of(store, row):
    return load(store.read_blob(f"{row.path}/weights.safetensors"))


def test_more_steps_extend_a_tokenizer_without_being_told(trained):
    first, before, _, _ = train(trained, CONFIG, "video_tokenizer")
    second, row, said, steps = train(trained, changed(tokenizer={"steps": 7}), "video_tokenizer")
    assert steps == [5, 6, 7]
    assert any("video_tokenizer: resumed at step 4 of 7" in line for line in said)
    assert row.inputs["lineage"] == [{"how": "extended", "model": first.model_id, "step": 4}]
    assert row.metrics["resumed_at_step"] == 4
    assert second.model_id != first.model_id
    assert find_model(trained, "video_tokenizer", first.model_id) == before, "the shorter model stays"
    curve = json.loads(trained.read_blob(f"{row.path}/curve.json"))
    assert [point["step"] for point in curve] == [1, 2, 3, 4, 5, 6, 7]
    assert train(trained, changed(tokenizer={"steps": 7}), "video_tokenizer")[0].skipped
    assert train(trained, CONFIG, "video_tokenizer")[0].model_id == first.model_id, "it is the configured one again"


def test_more_steps_extend_a_world_and_a_kill_in_between_changes_nothing(trained_world, tmp_path):
    first = train(trained_world, CONFIG, "world_model")[0]
    longer = changed(dynamics={"steps": 8})
    shutil.copytree(trained_world.root, tmp_path / "other")
    other = Store(tmp_path / "other")
    with pytest.raises(KeyboardInterrupt):
        train_world_model(job_of(other, longer), on_step=killed_after(10))
    killed, row, said, steps = train(other, longer, "world_model")
    whole = train(trained_world, longer, "world_model")[0]
    assert steps == [9, 10, 11], "from the last checkpoint, of step 8"
    assert any("resumed at step 8 of 11" in line for line in said)
    assert row.inputs["lineage"] == [{"how": "extended", "model": first.model_id, "step": 7}]
    assert killed.model_id == whole.model_id
    ours = weights_of(other, row)
    theirs = weights_of(trained_world, find_model(trained_world, "world_model", whole.model_id))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_stopped_run_that_is_to_take_other_steps_is_named_in_the_lineage_for_its_rates_were_others(shards):
    every_two = changed(training={"checkpoint_every": 2})
    with pytest.raises(KeyboardInterrupt):
        train_tokenizer(job_of(shards, changed(every_two, tokenizer={"steps": 9})), on_step=killed_after(3))
    shorter = changed(every_two, tokenizer={"steps": 6})
    with pytest.raises(KeyboardInterrupt):
        train_tokenizer(job_of(shards, shorter), on_step=killed_after(5))
    _, row, _, steps = train(shards, shorter, "video_tokenizer")
    assert steps == [5, 6]
    assert row.inputs["lineage"] == [{"how": "extended", "model": row.inputs["run"], "step": 2}]


def test_a_model_of_fewer_steps_that_was_trained_apart_is_not_in_the_lineage_of_a_longer_one(shards):
    six = train(shards, changed(tokenizer={"steps": 6}), "video_tokenizer")[0]
    assert train(shards, changed(tokenizer={"steps": 5}), "video_tokenizer")[3] == [1, 2, 3, 4, 5]
    row = train(shards, changed(tokenizer={"steps": 7}), "video_tokenizer")[1]
    assert row.inputs["lineage"] == [{"how": "extended", "model": six.model_id, "step": 6}]


@pytest.mark.parametrize(
    "changes",
    [
        lambda config: slower("tokenizer", config),
        lambda config: changed(config, training={"dtype": "bf16"}),
        lambda config: changed(config, tokenizer={"batch": 3}),
        lambda config: changed(config, tokenizer={"commitment": 0.5, "reconstruction_weight": 2.0, "ema_decay": 0.5}),
        lambda config: changed(config, training={"seed": 3, "accumulate": 2}),
    ],
    ids=["rate", "dtype", "batch", "losses", "seed"],
)
def test_a_finished_tokenizer_goes_on_under_other_settings(trained, changes):
    parent = train(trained, CONFIG, "video_tokenizer")[0]
    config = changed(changes(CONFIG), tokenizer={"steps": 6})
    config = changed(changes(config), training={"go_on": parent.model_id[:6]})
    report, row, said, steps = train(trained, config, "video_tokenizer")
    assert steps == [5, 6]
    [origin] = row.inputs["lineage"]
    assert (origin["how"], origin["model"], origin["step"]) == ("go_on", parent.model_id, 4)
    assert origin["changed"]
    assert origin["changed"]["tokenizer.steps"] == [4, 6]
    assert any(f"goes on from video_tokenizer {parent.model_id} at step 4 of 6" in line for line in said)
    assert models_in_use(trained, config).tokenizer.model_id == report.model_id, "it is the configured one"
    assert models_in_use(trained, CONFIG).tokenizer.model_id == parent.model_id
    assert train(trained, config, "video_tokenizer")[0].skipped
    state = Checkpoints(trained, f"models/video_tokenizer/runs/{row.inputs['run']}/checkpoints").latest()
    counts = {float(tensor) for name, tensor in state.tensors.items() if name.endswith(".step")}
    assert counts == {6.0}, "the optimizer has all steps behind it"


def test_an_unfinished_run_goes_on_under_a_lower_rate_as_the_error_says(shards):
    from models.training.finite import NotFiniteError

    wild = dataclasses.replace(CONFIG.tokenizer.optimizer, learning_rate=1e15, final_learning_rate=1e15, warmup_steps=0)
    # the first two steps are calm: the rate rises in a line
    wild = dataclasses.replace(wild, warmup_steps=10**15)
    bad = changed(tokenizer={"optimizer": wild, "steps": 9})
    hits = []

    def spoil(step, metrics):
        hits.append(step)
        if step == 3:
            raise NotFiniteError("the gradient of tokenizer has the norm nan", "tokenizer")

    with pytest.raises(NotFiniteError) as caught:
        train_tokenizer(job_of(shards, bad), on_step=spoil)
    text = str(caught.value)
    run = text.split("training.go_on = '")[1].split("'")[0]
    assert "it then goes on from step 2" in text
    calm = dataclasses.replace(wild, learning_rate=1e-3, final_learning_rate=1e-3)
    config = changed(bad, tokenizer={"optimizer": calm}, training={"go_on": run})
    _, row, said, steps = train(shards, config, "video_tokenizer")
    assert steps == list(range(3, 10))
    assert row.inputs["lineage"][0]["model"] == run
    assert any(f"goes on from video_tokenizer {run} at step 2 of 9" in line for line in said)


def test_a_world_goes_on_with_its_own_tokenizer_and_both_optimizers(trained_world):
    below = train(trained_world, CONFIG, "video_tokenizer")[0]
    parent = train(trained_world, CONFIG, "world_model")[0]
    # the configured tokenizer is another by now
    other = changed(tokenizer={"commitment": 0.7})
    train(trained_world, other, "video_tokenizer")
    config = changed(slower("dynamics", slower("latent_actions", other)), dynamics={"steps": 6, "token_noise": 0.1})
    config = changed(config, training={"go_on": parent.model_id})
    assert train(trained_world, config, "video_tokenizer")[0].model_id == below.model_id, "used as it is"
    with pytest.raises(KeyboardInterrupt):
        train_world_model(job_of(trained_world, config), on_step=killed_after(9))
    report, row, said, steps = train(trained_world, config, "world_model")
    assert steps == [9], "a killed one goes on from its own checkpoint"
    assert any("resumed at step 8 of 9" in line for line in said)
    assert row.inputs["tokenizer"] == below.model_id
    [origin] = row.inputs["lineage"]
    assert (origin["model"], origin["step"]) == (parent.model_id, 7)
    assert origin["changed"]["dynamics.token_noise"] == [0.0, 0.1]
    assert origin["changed"]["latent_actions.optimizer.learning_rate"] == [1e-3, 2e-4]
    assert world_model_is_current(trained_world, config)
    world = load_world(trained_world, config)
    assert (world.model_id, world.tokenizer_id) == (report.model_id, below.model_id)


def test_a_tokenizer_starts_from_the_weights_of_another_at_step_0(trained):
    parent, before, _, _ = train(trained, CONFIG, "video_tokenizer")
    config = changed(slower("tokenizer"), training={"start_from": parent.model_id})
    still = dataclasses.replace(CONFIG.tokenizer.optimizer, learning_rate=1e-30, final_learning_rate=0, weight_decay=0)
    config = changed(config, tokenizer={"optimizer": still, "ema_decay": 0.9999999, "steps": 2})
    _, row, said, steps = train(trained, config, "video_tokenizer")
    assert steps == [1, 2]
    assert any(f"starts at step 0 of 2 with the weights of video_tokenizer {parent.model_id}" in line for line in said)
    ours, theirs = weights_of(trained, row), weights_of(trained, before)
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=1e-3)
    assert row.inputs["lineage"][0]["how"] == "start_from"
    state = Checkpoints(trained, f"models/video_tokenizer/runs/{row.inputs['run']}/checkpoints").latest()
    assert {float(tensor) for name, tensor in state.tensors.items() if name.endswith(".step")} == {2.0}
    # a world on it is trained from its first step
    _, world, _, steps = train(trained, config, "world_model")
    assert world.inputs["lineage"] == []
    assert steps[0] == 1


def test_a_world_starts_from_another_with_its_tokenizer_and_may_skip_the_phase_alone(trained_world):
    below = train(trained_world, CONFIG, "video_tokenizer")[0]
    parent = train(trained_world, CONFIG, "world_model")[0]
    config = changed(latent_actions={"unquantized_steps": 0}, training={"start_from": parent.model_id})
    _, row, _, steps = train(trained_world, config, "world_model")
    assert steps == [1, 2, 3, 4]
    assert row.inputs["tokenizer"] == below.model_id
    assert row.inputs["lineage"] == [
        {
            "how": "start_from",
            "model": parent.model_id,
            "step": 7,
            "changed": {"latent_actions.unquantized_steps": [3, 0]},
        }
    ]
    # and a start from that one tells of both
    again = changed(config, training={"start_from": row.model_id})
    lineage = train(trained_world, again, "world_model")[1].inputs["lineage"]
    assert [origin["model"] for origin in lineage] == [parent.model_id, row.model_id]


STRUCTURE = {
    "tokenizer.codebook_size = 16 instead of 32": {"tokenizer": {"codebook_size": 16}},
    "tokenizer.encoder.layers = 2 instead of 1": {
        "tokenizer": {"encoder": dataclasses.replace(CONFIG.tokenizer.encoder, layers=2)}
    },
    "tokenizer.ema_decay = 0.0 instead of 0.9": {"tokenizer": {"ema_decay": 0.0, "start": "random"}},
    "tokenizer.window = 5 instead of 4": {"tokenizer": {"window": 5}},
}


@pytest.mark.parametrize("how", ["start_from", "go_on"])
@pytest.mark.parametrize("named", STRUCTURE)
def test_other_networks_are_refused_by_the_names_of_their_settings(trained, how, named):
    parent = train(trained, CONFIG, "video_tokenizer")[0]
    assert parent.skipped, "it is there"
    before = len(all_models(trained))
    config = changed(**STRUCTURE[named])
    config = changed(config, tokenizer={"steps": 9}, training={how: parent.model_id})
    with pytest.raises(UserError, match="asks for other networks") as caught:
        train(trained, config, "video_tokenizer")
    assert named in str(caught.value)
    assert "tokenizer.steps" not in str(caught.value)
    assert "set it as before" in str(caught.value)
    assert "begin at random" in str(caught.value)
    assert len(all_models(trained)) == before


@pytest.mark.parametrize("how", ["start_from", "go_on"])
def test_with_the_networks_as_before_the_training_begins_so(trained, how):
    parent = train(trained, CONFIG, "video_tokenizer")[0]
    train(trained, changed(tokenizer={"steps": 5}, training={how: parent.model_id}), "video_tokenizer")


@pytest.mark.parametrize("named", STRUCTURE)
def test_other_networks_begin_at_random(trained, named):
    config = changed(**STRUCTURE[named])
    steps = train(trained, changed(config, tokenizer={"steps": 2}), "video_tokenizer")[3]
    assert steps == [1, 2]


def test_every_other_mistake_says_what_to_do_and_that_works(trained):
    first = train(trained, CONFIG, "video_tokenizer")[0]
    with pytest.raises(UserError, match=r"no model has such an id; `lampworks models` lists them"):
        train(trained, changed(training={"start_from": "nothing"}), "video_tokenizer")
    with pytest.raises(UserError, match=r"no model or run has such an id"):
        train(trained, changed(training={"go_on": "nothing"}), "video_tokenizer")
    with pytest.raises(UserError, match=r"begins in one place; set one of them to ''"):
        changed(training={"go_on": "a", "start_from": "b"})
    # all steps are taken
    slow = slower("tokenizer")
    with pytest.raises(UserError, match=r"it has taken 4 steps, .* 4 in all: raise tokenizer\.steps \(now 4\)"):
        train(trained, changed(slow, training={"go_on": first.model_id}), "video_tokenizer")
    train(trained, changed(slow, training={"go_on": first.model_id}, tokenizer={"steps": 5}), "video_tokenizer")
    # the state of another algorithm
    other = dataclasses.replace(CONFIG.tokenizer.optimizer, algorithm="muon")
    muon = changed(tokenizer={"steps": 5, "optimizer": other})
    with pytest.raises(UserError, match=r"tokenizer\.optimizer\.algorithm = 'muon' instead of 'adamw'.*start_from"):
        train(trained, changed(muon, training={"go_on": first.model_id}), "video_tokenizer")
    train(trained, changed(muon, training={"start_from": first.model_id}), "video_tokenizer")
    # the checkpoint is gone: weights remain
    for folder in Path(trained.root, "models/video_tokenizer/runs").iterdir():
        shutil.rmtree(folder)
    other = changed(tokenizer={"steps": 6, "commitment": 0.9})
    with pytest.raises(UserError, match="the checkpoint after its step 4 is not there any more") as caught:
        train(trained, changed(other, training={"go_on": first.model_id}), "video_tokenizer")
    assert f"training.start_from = '{first.model_id}'" in str(caught.value)
    train(trained, changed(other, training={"start_from": first.model_id}), "video_tokenizer")


def test_a_model_whose_run_went_further_names_the_run(trained):
    first, row, _, _ = train(trained, CONFIG, "video_tokenizer")
    train(trained, changed(tokenizer={"steps": 6}), "video_tokenizer")
    config = changed(slower("tokenizer"), tokenizer={"steps": 8})
    with pytest.raises(UserError, match=rf"go on from step 6 of its run with training.go_on = '{row.inputs['run']}'"):
        train(trained, changed(config, training={"go_on": first.model_id}), "video_tokenizer")
    steps = train(trained, changed(config, training={"go_on": row.inputs["run"]}), "video_tokenizer")[3]
    assert steps == [7, 8]


def test_a_run_without_a_model_cannot_be_started_from_and_the_error_says_how_it_goes_on(shards):
    with pytest.raises(KeyboardInterrupt):
        train_tokenizer(job_of(shards, CONFIG), on_step=killed_after(3))
    [run] = [path.name for path in Path(shards.root, "models/video_tokenizer/runs").iterdir()]
    config = changed(slower("tokenizer"), training={"start_from": run})
    with pytest.raises(UserError, match=rf"has published no model yet; .* with training.go_on = '{run}'"):
        train(shards, config, "video_tokenizer")
    steps = train(shards, changed(config, training={"start_from": "", "go_on": run}), "video_tokenizer")[3]
    assert steps == [3, 4]


def test_frames_of_another_size_are_refused_by_the_names_of_their_settings(trained_world):
    import numpy as np

    from tests.media import video_bytes
    from tests.shards import add_shards

    first = train(trained_world, CONFIG, "video_tokenizer")[0]
    world = train(trained_world, CONFIG, "world_model")[0]
    wide = {clip_id(n): video_bytes(np.zeros((12, 16, 48, 3), np.uint8), fps=10) for n in range(3)}
    other = Store(Path(trained_world.root).parent / "wide")
    add_shards(other, {"train": wide, "val": {clip_id(5): mp4(5)}})
    shutil.copytree(Path(trained_world.root, "models"), Path(other.root, "models"))
    shutil.copytree(Path(trained_world.root, "tables/models"), Path(other.root, "tables/models"))
    config = changed(slower("tokenizer"), training={"start_from": first.model_id})
    with pytest.raises(UserError, match=r"frames of 32x16 pixels, and the training shards have 48x16: set clips.width"):
        train(other, config, "video_tokenizer")
    train(trained_world, config, "video_tokenizer")
    # a world brings its tokenizer along
    config = changed(slower("dynamics"), training={"start_from": world.model_id})
    with pytest.raises(
        UserError, match=rf"tokenizer {first.model_id} of this world .* 32x16 .* the training shards .*48x16"
    ):
        train(other, config, "world_model")


def test_a_run_goes_on_from_an_earlier_checkpoint_that_was_kept_and_else_names_those_that_were(shards):
    kept = changed(tokenizer={"steps": 6}, training={"checkpoint_every": 2, "keep_every": 2})
    parent = train(shards, kept, "video_tokenizer")[0]
    run = find_model(shards, "video_tokenizer", parent.model_id).inputs["run"]
    for name in (parent.model_id, run):
        config = changed(slower("tokenizer", kept), training={"go_on": f"{name}@4"})
        _, row, said, steps = train(shards, config, "video_tokenizer")
        assert steps == [5, 6]
        assert row.inputs["lineage"][-1]["step"] == 4
        assert any(f"goes on from video_tokenizer {name} at step 4 of 6" in line for line in said)
        assert train(shards, config, "video_tokenizer")[0].skipped
        earlier = changed(config, training={"go_on": f"{name}@2"})
        assert train(shards, earlier, "video_tokenizer")[3] == [3, 4, 5, 6], "another step is another run"
    with pytest.raises(UserError, match=r"no checkpoint of step 5 was kept of it; there are those of 2, 4, 6 \(train"):
        train(shards, changed(kept, training={"go_on": f"{run}@5"}), "video_tokenizer")
    for wrong in ("0123@two", "0123@", "0123@-1", "0123@1@2"):
        with pytest.raises(UserError, match=rf"'{wrong}': after the @ stands the number of a step, as 0123@5000"):
            changed(kept, training={"go_on": wrong})
    with pytest.raises(UserError, match=r"training.start_from = '0123@9': only training.go_on takes a step"):
        changed(kept, training={"start_from": "0123@9"})


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.9), (0.9, 0.0)], ids=["begins", "ends"])
def test_a_run_goes_on_with_an_average_that_it_did_not_have_and_without_one_that_it_had(shards, before, after):
    parent = train(shards, changed(training={"ema_decay": before}), "video_tokenizer")[0]
    config = changed(tokenizer={"steps": 7}, training={"go_on": parent.model_id, "ema_decay": after})
    _, row, _, steps = train(shards, config, "video_tokenizer")
    assert steps == [5, 6, 7]
    state = Checkpoints(shards, f"models/video_tokenizer/runs/{row.inputs['run']}/checkpoints").latest()
    assert any(name.startswith("average.") for name in state.tensors) == bool(after)
