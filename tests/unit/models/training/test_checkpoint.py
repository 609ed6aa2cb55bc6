import pytest
import torch

from models.training.checkpoint import Checkpoints, step_generator
from pipeline.errors import UserError


@pytest.fixture
def checkpoints(store):
    return Checkpoints(store, "models/world_model/run/checkpoints")


def tensors(value):
    return {"a": torch.full((2, 3), float(value)), "counts": torch.tensor([value])}


def test_the_newest_checkpoint_comes_back_whole(checkpoints):
    assert checkpoints.latest() is None
    for step in (9, 100, 1000):
        checkpoints.save(step, tensors(step), {"curve": [{"step": step}]})
    step, found, about = checkpoints.latest()
    assert step == 1000
    assert torch.equal(found["a"], tensors(1000)["a"])
    assert found["counts"].dtype == torch.int64
    assert about == {"curve": [{"step": 1000}]}


def test_older_checkpoints_go_once_a_newer_one_is_there(checkpoints):
    for step in (10, 20):
        checkpoints.save(step, tensors(step), {})
    names = [key.rsplit("/", 1)[-1] for key in checkpoints.store.list_blobs(checkpoints.folder)]
    assert names == ["step-00000020.json", "step-00000020.safetensors"]


class KilledError(Exception):
    pass


@pytest.mark.parametrize("writes", [0, 1])
def test_a_save_that_was_killed_half_way_counts_as_nothing(checkpoints, monkeypatch, writes):
    checkpoints.save(10, tensors(10), {})
    write, done = checkpoints.store.write_blob, []

    def write_some(key, data):
        if len(done) == writes:
            raise KilledError
        done.append(key)
        write(key, data)

    monkeypatch.setattr(checkpoints.store, "write_blob", write_some)
    with pytest.raises(KilledError):
        checkpoints.save(20, tensors(20), {})
    write(f"{checkpoints.folder}/.tmp-1234", b"half of it")
    assert checkpoints.latest().step == 10
    checkpoints.clear()
    assert checkpoints.store.list_blobs(checkpoints.folder) == []


@pytest.mark.parametrize("name", ["step-00000010.safetensors", "step-00000010.json"])
def test_a_damaged_checkpoint_says_where_it_is_and_what_to_do(checkpoints, name):
    checkpoints.save(10, tensors(10), {"curve": []})
    key = f"{checkpoints.folder}/{name}"
    checkpoints.store.write_blob(key, checkpoints.store.read_blob(key)[:-3])
    with pytest.raises(UserError, match=f"checkpoint {checkpoints.folder}, step 10: .*delete the folder to train from"):
        checkpoints.latest()


def test_noise_of_a_step_depends_on_seed_stream_and_step():
    def draw(*which):
        return torch.rand(4, generator=step_generator(*which)).tolist()

    assert draw(0, 1, 2) == draw(0, 1, 2)
    assert len({tuple(draw(*which)) for which in ((0, 1, 2), (1, 1, 2), (0, 2, 2), (0, 1, 3))}) == 4
