"""One thread: networks this small run ten times slower on two busy cores than on one."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def fp64(monkeypatch):
    """Where the networks keep fp32 whatever the products' dtype (`.float()`), keep fp64 instead."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
