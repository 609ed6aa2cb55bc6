"""The loss of a large batch holds a part of its logits at a time, also while gradients are computed."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(700)]
PEAK = """
import torch
from models.bench.timing import peak_memory_mb
from models.networks.logits import cross_entropy

torch.set_num_threads(1)
head, before = torch.nn.Linear(16, 1024), peak_memory_mb(torch.device("cpu"))
hidden, targets = torch.randn(1 << 17, 16, requires_grad=True), torch.randint(0, 1024, (1 << 17,))
cross_entropy(head, hidden, targets, None, 1024).backward()
print(peak_memory_mb(torch.device("cpu")) - before)
"""


def test_logits_of_half_a_gigabyte_are_never_held():
    """In one piece they and their gradients would take three times 537 MB; a part takes up to 4 x 134 MB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    assert float(done.stdout) < 800
