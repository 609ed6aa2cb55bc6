"""When a training has processes of its own."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from assets.graph.processes import _Heard, trains_in_processes
from pipeline.config import Config, TrainingConfig
from pipeline.errors import UserError
from pipeline.usage import Usage, used


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


def test_what_the_processes_have_used_is_counted_by_the_step_but_for_time_that_it_counts_itself() -> None:
    heard = _Heard(None, lambda step, metrics: None, lambda notice: None)  # type: ignore[arg-type]
    before = used()
    for rank in range(2):
        told = Usage(cpu_s=1e6, gpu_s=1e6, bytes_read=100, bytes_written=20, requests=3)
        heard.take(json.loads(json.dumps({"event": "used", "rank": rank, **asdict(told)})))
    spent = used() - before
    assert (spent.bytes_read, spent.bytes_written, spent.requests) == (200, 40, 6)
    assert spent.cpu_s + spent.gpu_s < 1e6
