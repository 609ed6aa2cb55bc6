"""Pieces of a batch side by side give what the batch gives."""

import pytest
import torch
from torch import nn

from models.runtime.compute import Compute
from models.runtime.cpu_parallel import CpuParallel


def parallel(count):
    return CpuParallel(Compute(torch.device("cpu"), torch.float32, "test", count))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_keep_the_order_of_their_parts(count):
    assert parallel(count).map(lambda part: part * 2, list(range(7))) == [0, 2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_gradient_of_the_pieces_is_the_gradient_of_the_batch(count):
    torch.manual_seed(0)
    network, batch = nn.Linear(3, 2), torch.randn(5, 3)
    network(batch).square().mean().backward()
    expected = network.weight.grad.clone()
    network.zero_grad()
    loss, results = parallel(count).backward(network, lambda piece: (network(piece).square().mean(), piece), batch)
    torch.testing.assert_close(network.weight.grad, expected)
    torch.testing.assert_close(loss, network(batch).square().mean().detach())
    assert torch.equal(torch.cat(results), batch)


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_in_a_piece_reaches_the_caller(count):
    def work(part):
        raise ValueError(f"part {part}")

    with pytest.raises(ValueError, match="part"):
        parallel(count).map(work, [1, 2])
    with pytest.raises(ValueError, match="part"):
        parallel(count).submit(work, 1).result()


@pytest.mark.parametrize("accumulate", [2, 5, 9])
def test_parts_one_after_another_give_the_gradient_of_the_batch_and_keep_their_order(accumulate):
    torch.manual_seed(0)
    network, batch = nn.Linear(3, 2).double(), torch.randn(5, 3).double()
    network(batch).square().mean().backward()
    expected = network.weight.grad.clone()
    at_once = []

    def loss_of(piece):
        at_once.append(len(piece))
        return network(piece).square().mean(), piece

    loss, results = parallel(2).backward(network, loss_of, batch, accumulate)
    torch.testing.assert_close(network.weight.grad, expected)
    torch.testing.assert_close(loss, network(batch).square().mean().detach())
    assert torch.equal(torch.cat(results), batch)
    assert max(at_once) == (2 if accumulate == 2 else 1)
