import pytest
import torch

from models.compute import choose_compute, threads_a_product
from pipeline.config.world import TrainingConfig
from pipeline.errors import UserError


def test_the_dtype_asked_for_is_taken():
    compute = choose_compute(TrainingConfig(device="cpu", dtype="fp32"))
    assert (compute.device.type, compute.dtype) == ("cpu", torch.float32)
    with compute.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    with choose_compute(TrainingConfig(device="cpu", dtype="bf16")).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_an_automatic_choice_says_why():
    assert "bf16" in choose_compute(TrainingConfig(device="cpu")).reason


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_named_with_the_fix():
    with pytest.raises(UserError, match=r"training.device = 'cuda'.*'auto' or 'cpu'"):
        choose_compute(TrainingConfig(device="cuda"))


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with threads_a_product(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_all_cores_are_used_unless_a_number_is_asked_for():
    assert choose_compute(TrainingConfig(device="cpu", threads=3)).threads == 3
    assert choose_compute(TrainingConfig(device="cpu")).threads >= 1
