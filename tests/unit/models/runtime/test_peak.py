"""The peak of matrix products is found in about a second, also where the processor does not multiply the dtype."""

import torch

from models.runtime import peak
from models.runtime.compute import Compute
from models.runtime.peak import Cost, Peak


def test_where_a_small_product_takes_a_second_no_larger_one_and_no_burst_is_tried(monkeypatch):
    made = []

    def cost_of(call, repeats, device):
        call()
        return Cost(1.0, 1.0)

    def mm(a, b, out):
        made.append(len(a))

    monkeypatch.setattr(peak, "cost_of", cost_of)
    monkeypatch.setattr(torch, "mm", mm)
    found = Peak(Compute(torch.device("cpu"), torch.bfloat16, "test", 1))
    assert found.now() == 2 * 512**3
    # one to warm up and one to see how slow it is; then again at that size, and now
    assert made == [512] * 5
