"""Trainings on a store: published once per input, resumed where they were killed, refused with a reason."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load

from models.runtime.ranks import Ranks
from models.training.data import training_clips
from models.training.planned_run import plan_run
from models.training.train import (
    tokenizer_is_current,
    train_tokenizer,
    train_world_model,
    world_model_is_current,
)
from models.training.training_set import training_windows
from models.world.load import load_world
from pipeline.config.evaluation import SamplingConfig
from pipeline.config.world import LatentActionConfig
from pipeline.errors import UserError
from pipeline.shards.read import current_shards
from pipeline.storage.takedown import request_takedown
from pipeline.training_size.memory_there import MemoryThere
from tests.synthetic import job_of
from tests.trainings import CONFIG, OPTIMIZER, STACK, add_training_shards, killed_after, weights

GREEDY = SamplingConfig(maskgit_steps=1, token_temperature=0)
# codes that learn by gradient, and restart where they idle: 0.99 to the third power is below 0.98
RESTARTS = dataclasses.replace(
    CONFIG,
    tokenizer=dataclasses.replace(CONFIG.tokenizer, ema_decay=0.0, start="random", cosine=True, restart_below=0.98),
    latent_actions=dataclasses.replace(CONFIG.latent_actions, ema_decay=0.0, restart_below=0.98),
)
# a lattice instead of codes, and a LAM that reads tokens, two frames at a time
TOKENS = dataclasses.replace(
    CONFIG,
    tokenizer=dataclasses.replace(
        CONFIG.tokenizer, quantizer="fsq", fsq_levels=(4, 3, 3), latent_dim=3, codebook_size=36, ema_decay=0.0,
        start="random",
    ),
    latent_actions=LatentActionConfig(
        input="tokens", pooling="difference", window=2, cosine=True, latent_dim=8, encoder=STACK, decoder=STACK,
        optimizer=OPTIMIZER,
    ),
)  # fmt: skip


@pytest.fixture
def shards(store):
    add_training_shards(store)
    assert current_shards(store) == "v1"
    return store


def blobs_and_versions(store):
    return store.list_blobs("models"), store.version("models")


def test_both_phases_publish_models_that_load_as_a_world(shards):
    seen = []
    first = train_tokenizer(job_of(shards, CONFIG), on_step=lambda step, figures: seen.append((step, figures["loss"])))
    assert [step for step, _ in seen] == [1, 2, 3, 4]
    assert (first.kind, first.steps, first.skipped) == ("video_tokenizer", 4, False)
    assert first.metrics["psnr"] > 10
    assert 0 < first.metrics["codebook_usage"] <= 1
    second = train_world_model(job_of(shards, CONFIG))
    assert second.steps == 7, "3 of the latent actions alone, 4 together"
    assert second.parameters == second.metrics["parameters_latent_actions"] + second.metrics["parameters_dynamics"]
    world = load_world(shards, CONFIG)
    assert (world.model_id, world.tokenizer_id) == (second.model_id, first.model_id)
    prompt = world.encode(torch.zeros(1, 1, 16, 32, 3, dtype=torch.uint8))
    assert world.generate(prompt, torch.tensor([[0, 7]]), sampling=GREEDY).shape == (1, 3, 8)
    curve = json.loads(shards.read_blob(f"models/world_model/{second.model_id}/curve.json"))
    assert [point["step"] for point in curve] == list(range(1, 8))
    assert "loss" not in curve[2]
    assert "loss" in curve[3]


def test_latent_actions_of_tokens_of_a_lattice_make_a_world(shards):
    steps = []
    train_tokenizer(job_of(shards, TOKENS), on_step=lambda step, figures: steps.append(figures))
    assert all(1 <= figures["perplexity"] <= figures["codes_used"] <= 36 for figures in steps)
    steps.clear()
    report = train_world_model(job_of(shards, TOKENS), on_step=lambda step, figures: steps.append(figures))
    names = {"lam_accuracy", "lam_codes_used", "lam_perplexity", "lam_entropy_in_clip", "lam_entropy_at_time", "loss"}
    assert all(names <= set(figures) and "lam_psnr" not in figures for figures in steps)
    assert {"lam_accuracy", "lam_accuracy_copy"} <= set(report.metrics)
    world = load_world(shards, TOKENS)
    # of a hundred videos one has two codes that are equally near but for the rounding of bf16
    video = torch.randint(0, 255, (1, 7, 16, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    codes = world.infer_actions(video)
    assert codes.shape == (1, 6)
    tokens = world.encode(video)
    with torch.inference_mode():
        expected = [world.latent_actions.encode(tokens[:, start : start + 2]) for start in range(6)]
    assert torch.equal(codes, torch.cat(expected, 1)), "each code is that of two frames' tokens"
    with pytest.raises(UserError, match=r"latent_actions\.window = 3: .* so 3 must be a multiple of 2"):
        dataclasses.replace(TOKENS, latent_actions=dataclasses.replace(TOKENS.latent_actions, window=3))


def test_a_second_training_writes_nothing(shards):
    train_tokenizer(job_of(shards, CONFIG))
    train_world_model(job_of(shards, CONFIG))
    before = blobs_and_versions(shards)
    kept = [key.rsplit("/", 1)[-1] for key in before[0] if "/step-" in key]
    ends = [f"step-0000000{step}.{end}" for step in (4, 7) for end in ("json", "safetensors")]
    assert kept == ends, "of a published model the last checkpoint stays: more steps go on from it"
    assert train_tokenizer(job_of(shards, CONFIG)).skipped
    assert train_world_model(job_of(shards, CONFIG)).skipped
    assert blobs_and_versions(shards) == before


@pytest.mark.parametrize("config", [CONFIG, RESTARTS], ids=["means", "gradients"])
def test_a_killed_training_goes_on_to_the_same_weights(shards, tmp_path, config):
    import shutil

    from pipeline.storage.store import Store

    shutil.copytree(shards.root, tmp_path / "other")
    other = Store(tmp_path / "other")
    for train, kind, at in (
        (train_tokenizer, "video_tokenizer", 3),
        (train_world_model, "world_model", 3),  # just before the codes start
        (train_world_model, "world_model", 6),
    ):
        with pytest.raises(KeyboardInterrupt):
            train(job_of(other, config), on_step=killed_after(at))
        if at == 6 or train is train_tokenizer:
            resumed = []
            train(job_of(other, config), on_step=lambda step, figures, resumed=resumed: resumed.append(step))
            assert resumed[0] == (3 if train is train_tokenizer else 5), "from the last checkpoint, not from 1"
            train(job_of(shards, config))
            assert weights(other, kind) == weights(shards, kind)
            prefix = {"video_tokenizer": "tokenizer", "world_model": "latent_actions"}[kind]
            counts = load(weights(shards, kind))[f"{prefix}.quantizer.counts"]
            assert float(counts.min()) > 0, "what was idle has moved and counts anew"


def test_only_what_changes_the_weights_makes_another_model(shards):
    train_tokenizer(job_of(shards, CONFIG))
    assert tokenizer_is_current(shards, CONFIG)
    assert not world_model_is_current(shards, CONFIG)

    def with_training(**changes):
        return dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, **changes))

    assert tokenizer_is_current(shards, with_training(checkpoint_every=7, cache_clips=1))
    assert not tokenizer_is_current(shards, with_training(seed=1))
    longer = dataclasses.replace(CONFIG, tokenizer=dataclasses.replace(CONFIG.tokenizer, steps=5))
    assert not tokenizer_is_current(shards, longer)


def test_checkpoints_of_other_settings_are_refused_before_the_first_step_and_deleting_them_helps(shards):
    wider = dataclasses.replace(CONFIG, tokenizer=dataclasses.replace(CONFIG.tokenizer, codebook_size=16))
    for config in (CONFIG, wider):
        with pytest.raises(KeyboardInterrupt):
            train_tokenizer(job_of(shards, config), on_step=killed_after(3))
    own, other = (plan_run(shards, config, "video_tokenizer", "v1").folder for config in (CONFIG, wider))
    for key in shards.list_blobs(own):
        shards.delete(key)
    for key in shards.list_blobs(other):
        shards.write_blob(key.replace(other, own), shards.read_blob(key))
    taken = []
    with pytest.raises(
        UserError, match=r"are those of the run .* \(tokenizer\.codebook_size = 16 instead of 32\)"
    ) as said:
        train_tokenizer(job_of(shards, CONFIG), on_step=lambda step, figures: taken.append(step))
    assert taken == []
    assert f"delete {own} of the root" in str(said.value)
    # without the file that says whose they are, the tensors do
    shards.delete(f"{own}/run.json")
    with pytest.raises(UserError, match=r"tokenizer\.quantizer\.\w+ is float32 .* instead of float32"):
        train_tokenizer(job_of(shards, CONFIG), on_step=lambda step, figures: taken.append(step))
    for key in shards.list_blobs(own):
        shards.delete(key)
    train_tokenizer(job_of(shards, CONFIG), on_step=lambda step, figures: taken.append(step))
    assert taken == [1, 2, 3, 4]


def test_a_world_model_without_its_tokenizer_says_what_to_do(shards):
    with pytest.raises(UserError, match="materialize video_tokenizer first"):
        train_world_model(job_of(shards, CONFIG))
    with pytest.raises(UserError, match="no world model yet"):
        load_world(shards, CONFIG)


def test_a_store_without_shards_says_what_to_do(store):
    assert not tokenizer_is_current(store, CONFIG)
    with pytest.raises(UserError, match="materialize `training_shards` first"):
        train_tokenizer(job_of(store, CONFIG))


def test_nothing_is_learned_from_a_taken_down_video(shards):
    request_takedown(shards, "video", "site-v2", "asked")
    with pytest.raises(UserError, match="hold 1 taken-down videos \\(site-v2\\)"):
        train_tokenizer(job_of(shards, CONFIG))
    assert shards.version("models") == -1


def test_a_takedown_during_the_training_stops_the_publication(shards):
    def ask(step, figures):
        if step == 2:
            request_takedown(shards, "video", "site-v0", "asked")

    with pytest.raises(UserError, match="taken-down"):
        train_tokenizer(job_of(shards, CONFIG), on_step=ask)
    assert shards.version("models") == -1


@pytest.mark.parametrize("train", [train_tokenizer, train_world_model])
def test_a_training_that_cannot_fit_is_refused_before_its_networks_are_built(shards, monkeypatch, train):
    if train is train_world_model:
        train_tokenizer(job_of(shards, CONFIG))
    built, said = [], []
    monkeypatch.setattr("models.training.train.TokenizerTraining", lambda *args, **more: built.append(args))
    monkeypatch.setattr("models.training.train.WorldTraining", lambda *args, **more: built.append(args))
    little = MemoryThere(50_000_000, "under its limit of 0.1 GB")
    monkeypatch.setattr("models.training.preflight.memory_there", lambda: little)
    before = blobs_and_versions(shards)
    with pytest.raises(UserError, match=r"needs about .* and 50\.0 MB are there \(under its limit of 0\.1 GB\)"):
        train(dataclasses.replace(job_of(shards, CONFIG), on_progress=said.append))
    assert built == []
    assert blobs_and_versions(shards) == before
    assert "parameters, " in said[0]
    assert "50.0 MB are there" in said[0]


def test_a_training_says_its_size_before_its_first_step_and_its_pace_after_a_few(shards):
    said = []
    longer = dataclasses.replace(CONFIG, tokenizer=dataclasses.replace(CONFIG.tokenizer, steps=6))
    train_tokenizer(dataclasses.replace(job_of(shards, longer), on_progress=said.append))
    (size,) = [index for index, line in enumerate(said) if "of memory needed" in line]
    (pace,) = [index for index, line in enumerate(said) if " s a step, about " in line]
    assert size < pace
    assert said[pace].endswith("for the other 2")


def test_fewer_tars_than_workers_that_decode_are_said_before_a_training_with_the_setting(store):
    add_training_shards(store)
    said = []
    for workers in (1, 3):
        few = dataclasses.replace(CONFIG.training, decode_workers=workers, cache_clips=1)
        job = dataclasses.replace(job_of(store, dataclasses.replace(CONFIG, training=few)), on_progress=said.append)
        training_windows(job, "v1", training_clips(store, "v1")[0]).close()
    [sentence] = said
    assert "the train split has 1 tar of up to 8 clips for 3 readers (1 rank x 3 workers)" in sentence
    assert "set shards.samples_per_shard to 1" in sentence


def test_fewer_clips_than_readers_are_refused_and_what_the_refusal_says_helps(store, monkeypatch):
    add_training_shards(store)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64))

    def windows(ranks, **settings):
        config = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, cache_clips=1, **settings))
        training_windows(job_of(store, config), "v1", training_clips(store, "v1")[0], Ranks(count=ranks)).close()

    with pytest.raises(UserError, match=r"1 tar .* 5 readers \(1 rank x 5 workers\), and only 4 clips: take fewer"):
        windows(1, decode_workers=5)
    with pytest.raises(UserError, match=r"8 readers \(8 ranks x 1 workers\), and only 4 clips: .*training\.processes"):
        windows(8, decode_workers=1)
    windows(4, decode_workers=1)
    windows(1)  # as many as this machine would start, but no more than there are clips
