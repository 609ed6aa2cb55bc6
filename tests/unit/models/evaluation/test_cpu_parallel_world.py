"""A world whose batches are divided among threads answers as the world does, each part with noise of its own."""

import pytest
import torch

from models.evaluation.cpu_parallel_world import CpuParallelWorld
from models.runtime.compute import Compute
from models.runtime.cpu_parallel import CpuParallel
from pipeline.config.evaluation import SamplingConfig

GREEDY = SamplingConfig(maskgit_steps=1, token_temperature=0)


@pytest.fixture(scope="module")
def parallel():
    return CpuParallel(Compute(torch.device("cpu"), torch.float32, "test", 2))


def test_a_divided_batch_gives_what_the_whole_batch_gives(make_world, parallel):
    world = make_world()
    divided = CpuParallelWorld(world, parallel)
    video = torch.randint(0, 255, (2, 4, 9, 14, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    tokens = world.encode(video)
    assert torch.equal(divided.encode(video), tokens)
    assert torch.equal(divided.decode(tokens), world.decode(tokens))
    assert torch.equal(divided.infer_actions(video), world.infer_actions(video))
    settings = {"sampling": GREEDY, "generator": torch.Generator().manual_seed(0)}
    actions = torch.zeros(2, 5, dtype=torch.int64)
    assert torch.equal(divided.generate(tokens, actions, **settings), world.generate(tokens, actions, **settings))
    assert torch.equal(divided.play(tokens, actions, **settings), world.play(tokens, actions, **settings))


def test_each_part_is_seeded_by_the_index_of_its_first_video(ring_world, parallel):
    prompts, actions = torch.zeros(5, 1, 1, dtype=torch.int64), torch.zeros(5, 2, dtype=torch.int64)
    CpuParallelWorld(ring_world, parallel).generate(
        prompts, actions, sampling=GREEDY, generator=torch.Generator().manual_seed(70)
    )
    assert sorted(seed for _, _, seed in ring_world.calls) == [70, 73]
