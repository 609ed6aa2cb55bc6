"""When a training has processes of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assets.graph.processes import trains_in_processes
from pipeline.config import Config, TrainingConfig
from pipeline.errors import UserError


@pytest.mark.parametrize(
    ("training", "apart"),
    [
        (TrainingConfig(), False),
        (TrainingConfig(processes=2), True),
        (TrainingConfig(nodes=2, rendezvous="10.0.0.1:29400"), True),
        (TrainingConfig(launch="torchrun"), True),
        (TrainingConfig(launch="in_process"), False),
    ],
)
def test_several_processes_are_started_by_torchrun_and_one_is_where_that_is_asked_for(
    training: TrainingConfig, apart: bool
) -> None:
    assert trains_in_processes(replace(Config(), training=training)) == apart


def test_several_processes_inside_the_step_are_refused_and_both_ways_of_the_sentence_are_taken() -> None:
    with pytest.raises(UserError, match=r"set training.processes \(now 2\) and training.nodes \(now 1\) to 1, or"):
        TrainingConfig(launch="in_process", processes=2)
    assert TrainingConfig(launch="in_process", processes=1)
    assert TrainingConfig(launch="torchrun", processes=2)
