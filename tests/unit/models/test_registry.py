"""What is published loads as it was, and anything else is refused with a reason and a way out."""

import dataclasses
import json
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load

from models.networks.dynamics import Dynamics
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.registry import folder_of, load_tokenizer, publish_model
from models.runtime.compute import Compute
from models.runtime.weights import pack
from models.world.load import load_world
from pipeline.config.world import DynamicsConfig, LatentActionConfig, StackConfig, TokenizerConfig
from pipeline.errors import UserError
from pipeline.model_ids import TOKENIZER, WORLD
from pipeline.storage.models_table import ModelRecord

STACK = StackConfig(layers=1, d_model=16, heads=2, head_dim=8)
TOKENIZER_CONFIG = TokenizerConfig(patch=4, codebook_size=12, latent_dim=4, encoder=STACK, decoder=STACK, window=3)
LAM_CONFIG = LatentActionConfig(patch=8, num_actions=4, latent_dim=4, encoder=STACK, decoder=STACK)
DYNAMICS_CONFIG = DynamicsConfig(stack=STACK, context=3)
CPU = Compute(torch.device("cpu"), torch.float32, "tests compare numbers")
TOKENIZER_FILE = "models/video_tokenizer/tok/weights.safetensors"
WORLD_FILE = "models/world_model/world/weights.safetensors"


def publish(store, tokenizer=TOKENIZER_CONFIG, lam=LAM_CONFIG, dynamics=DYNAMICS_CONFIG):
    """Publish a tokenizer `tok` and a world `world` of these settings; return their networks."""
    torch.manual_seed(0)
    first = VideoTokenizer(tokenizer, 9, 14)
    seen = {"num_codes": tokenizer.codebook_size, "grid": first.grid}
    second = LatentActionModel(lam, 9, 14, 3, **seen)
    third = Dynamics(dynamics, action_dim=lam.latent_dim, **seen)

    def record(kind, model_id, **values):
        return ModelRecord(model_id=model_id, kind=kind, path=folder_of(kind, model_id), metrics={}, steps=1, **values)

    publish_model(
        store,
        record(
            TOKENIZER, "tok", config={"tokenizer": dataclasses.asdict(tokenizer), "height": 9, "width": 14}, inputs={}
        ),
        {"tokenizer": first},
        curve=[],
    )
    settings = {"latent_actions": asdict(lam), "dynamics": asdict(dynamics)}
    publish_model(
        store,
        record(WORLD, "world", config=settings, inputs={"tokenizer": "tok"}),
        {"latent_actions": second, "dynamics": third},
        curve=[],
    )
    return first, second, third


@pytest.fixture
def networks(store):
    return publish(store)


def rewrite(store, path, change):
    """Replace a weights file by the same with changed tensors."""
    tensors = load(store.read_blob(path))
    change(tensors)
    store.write_blob(path, pack(tensors))


FSQ = {"quantizer": "fsq", "fsq_levels": (3, 4), "latent_dim": 2}
SETTINGS = {
    "the paper's": {},
    "fsq": {"tokenizer": dataclasses.replace(TOKENIZER_CONFIG, **FSQ)},
    "codes that follow and restart": {
        "tokenizer": dataclasses.replace(TOKENIZER_CONFIG, ema_decay=0.9, restart_below=0.1),
        "lam": dataclasses.replace(LAM_CONFIG, restart_below=0.1),
    },
    "a LAM that reads tokens": {"lam": dataclasses.replace(LAM_CONFIG, input="tokens")},
    "a prepended action": {"dynamics": dataclasses.replace(DYNAMICS_CONFIG, action_injection="prepend")},
    "c_vivit": {"tokenizer": dataclasses.replace(TOKENIZER_CONFIG, architecture="c_vivit")},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_published_world_loads_as_it_was_and_speaks(store, settings):
    networks, world = publish(store, **settings), load_world(store, "world", CPU)
    for network, found in zip(networks, (world.tokenizer, world.latent_actions, world.dynamics), strict=True):
        assert found.config == network.config
        assert network.state_dict().keys() == found.state_dict().keys()
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, found.state_dict()[name]), name
    video = torch.randint(0, 256, (1, 3, 9, 14, 3), dtype=torch.uint8)
    assert world.infer_actions(video).shape == (1, 2)
    assert torch.equal(world.encode(video), networks[0].eval().encode(video))


CHANGES = {
    "missing": (lambda t: t.pop("dynamics.head.bias"), "dynamics.head.bias is missing"),
    "unexpected": (lambda t: t.update({"dynamics.tail": torch.zeros(2)}), "dynamics.tail is unexpected"),
    "of no network": (lambda t: t.update({"critic.head": torch.zeros(2)}), "critic.head is unexpected"),
    "another shape": (
        lambda t: t.update({"latent_actions.quantizer.codebook": torch.zeros(6, 4)}),
        r"latent_actions.quantizer.codebook is float32 \(6, 4\) instead of float32 \(4, 4\)",
    ),
    "another dtype": (
        lambda t: t.update({"dynamics.head.bias": torch.zeros(12, dtype=torch.float16)}),
        r"dynamics.head.bias is float16 \(12,\) instead of float32 \(12,\)",
    ),
}


@pytest.fixture
def without_hashes(store, networks):
    """The models as an older version published them, without hashes of their files; tests/threats has those with."""
    store.replace("models", [{**row, "files": None} for row in store.read("models").to_pylist()])


@pytest.mark.usefixtures("without_hashes")
@pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=CHANGES)
def test_tensors_that_do_not_fit_are_named_with_the_model_and_the_fix(store, networks, change, reason):
    rewrite(store, WORLD_FILE, change)
    with pytest.raises(UserError, match=f"world_model world, {WORLD_FILE}: .*{reason}.*train again"):
        load_world(store, "world", CPU)


def test_many_tensors_of_another_size_are_counted(store, networks):
    row = store.read("models").to_pylist()
    about = json.loads(next(r["config"] for r in row if r["kind"] == TOKENIZER))
    wider = dataclasses.replace(STACK, d_model=24)
    about["tokenizer"]["encoder"] = dataclasses.asdict(wider)
    publish = {**next(r for r in row if r["kind"] == TOKENIZER), "model_id": "wide", "config": json.dumps(about)}
    store.append("models", [publish])
    with pytest.raises(UserError, match=r"video_tokenizer wide, .*instead of .* and \d+ more\. Restore"):
        load_tokenizer(store, "wide")


DAMAGES = {
    "cut short": (lambda data: data[:-7], "damaged or cut short"),
    "no header": (lambda data: b"", "damaged or cut short"),
    "a byte flipped": (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "do not give its checksum"),
}


@pytest.mark.usefixtures("without_hashes")
@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_named_with_the_fix(store, networks, damage, reason):
    store.write_blob(TOKENIZER_FILE, damage(store.read_blob(TOKENIZER_FILE)))
    with pytest.raises(UserError, match=f"video_tokenizer tok, {TOKENIZER_FILE}: .*{reason}.*Restore the file"):
        load_world(store, "world", CPU)


@pytest.mark.usefixtures("without_hashes")
def test_a_file_that_is_gone_is_named_with_the_fix(store, networks):
    store.delete(WORLD_FILE)
    with pytest.raises(UserError, match=f"world_model world, {WORLD_FILE}: the file is not there. Restore"):
        load_world(store, "world", CPU)


def test_settings_that_this_program_does_not_know_are_named(store, networks):
    row = next(r for r in store.read("models").to_pylist() if r["kind"] == TOKENIZER)
    about = json.loads(row["config"])
    about["tokenizer"]["colour"] = "blue"
    store.append("models", [{**row, "model_id": "blue", "config": json.dumps(about)}])
    with pytest.raises(
        UserError, match=r"model blue was made with settings that this lampworks does not know \(colour: [^\n]*\)"
    ):
        load_tokenizer(store, "blue")


def test_a_world_that_was_published_under_old_names_of_settings_loads_without_a_warning(store, networks):
    row = next(r for r in store.read("models").to_pylist() if r["kind"] == WORLD)
    text = row["config"].replace('"unquantized_steps"', '"continuous_start_steps"')
    assert text != row["config"]
    store.append("models", [{**row, "model_id": "older", "config": text.replace('"joint_lr_scale"', '"joint_rate"')}])
    assert load_world(store, "older", CPU).latent_actions.config == LAM_CONFIG
