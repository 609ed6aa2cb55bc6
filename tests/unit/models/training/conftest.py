"""Trainings of a second whose first codes are made of few windows."""

import pytest

from models.training import world_training


@pytest.fixture(scope="module", autouse=True)
def few_first_codes():
    """Make the codes after the steps without quantization of 10 batches instead of 100.

    These trainings take a few steps: 100 batches would take two thirds of the time of each world. What is tested is
    what becomes of a run, not how well its codes tell actions apart (tests/numerics/test_learning.py tests that).
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world_training, "_CODES_BATCHES", 10)
        yield
