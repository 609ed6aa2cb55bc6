import math
import re
import shutil
from pathlib import Path

import pytest
import torch

from models.runtime.weights import pack
from models.training.checkpoint import Checkpoints, step_generator
from models.training.finite import NotFiniteError
from models.training.keep import Keep
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


def test_the_newest_two_stay_and_older_ones_go(checkpoints):
    for step in (10, 20, 30):
        checkpoints.save(step, tensors(step), {})
    names = [key.rsplit("/", 1)[-1] for key in checkpoints.store.list_blobs(checkpoints.folder)]
    assert names == [f"step-000000{step}.{end}" for step in (20, 30) for end in ("json", "safetensors")]


def test_the_last_ones_every_so_many_steps_and_the_best_stay_while_a_run_goes_on(store):
    kept = Checkpoints(store, "models/world_model/run/checkpoints", Keep(last=2, every=40, best=1))
    losses = {10: 5.0, 20: 2.0, 30: 3.0, 40: 4.0, 50: 3.0, 60: 2.0, 70: 9.0, 80: 8.0, 90: 7.0}
    for step, loss in losses.items():
        kept.save(step, tensors(step), {"score": loss, "judged_by": "loss"})
    # of the two of equal loss, the earlier one
    assert kept.steps() == [20, 40, 80, 90]
    kept.save(100, tensors(100), {"score": 0.0, "judged_by": "psnr"})
    assert kept.steps() == [20, 40, 80, 90, 100], "a score by another metric does not count"
    kept.save(110, tensors(110), {"score": 1.0, "judged_by": "loss"})
    assert kept.steps() == [40, 80, 100, 110]


def test_a_checkpoint_without_a_loss_or_with_a_damaged_file_is_not_the_best(store):
    kept = Checkpoints(store, "models/world_model/run/checkpoints", Keep(last=1, best=2))
    for step, score in ((10, 1.0), (20, None), (30, 2.0), (40, 3.0)):
        kept.save(step, tensors(step), {"score": score, "judged_by": "loss"})
    assert kept.steps() == [10, 30, 40]
    flip(kept, "step-00000010.json")
    kept.save(50, tensors(50), {"score": 4.0, "judged_by": "loss"})
    assert kept.steps() == [30, 40, 50]


def test_what_is_kept_always_holds_the_newest():
    assert Keep(last=1, every=7, best=3).kept([5, 7, 9], {5: None, 7: math.nan}) == [7, 9]
    assert Keep().kept([], {}) == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_state_that_is_not_finite_is_never_written(checkpoints, bad):
    checkpoints.save(10, tensors(10), {})
    before = checkpoints.store.list_blobs(checkpoints.folder)
    with pytest.raises(NotFiniteError, match=r"1 of 2 tensors are not finite \(a\)"):
        checkpoints.save(20, {**tensors(20), "a": torch.tensor([1.0, bad])}, {})
    assert checkpoints.store.list_blobs(checkpoints.folder) == before


def cut(checkpoints, name):
    key = f"{checkpoints.folder}/{name}"
    checkpoints.store.write_blob(key, checkpoints.store.read_blob(key)[:-3])


def flip(checkpoints, name):
    key = f"{checkpoints.folder}/{name}"
    data = bytearray(checkpoints.store.read_blob(key))
    data[len(data) // 2] ^= 1
    checkpoints.store.write_blob(key, bytes(data))


def lose(checkpoints, name):
    checkpoints.store.delete(f"{checkpoints.folder}/{name}")


def spoil(checkpoints, name):
    """A checkpoint of not a number, as a version without the check wrote it."""
    checkpoints.store.write_blob(f"{checkpoints.folder}/{name}", pack({"a": torch.tensor(float("nan"))}))


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (cut, "step-00000020.safetensors"), (cut, "step-00000020.json"), (flip, "step-00000020.safetensors"),
        (flip, "step-00000020.json"), (lose, "step-00000020.json"), (spoil, "step-00000020.safetensors"),
    ],
)  # fmt: skip
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_says_so(checkpoints, damage, name):
    for step in (10, 20):
        checkpoints.save(step, tensors(step), {"curve": [{"step": step}]})
    damage(checkpoints, name)
    said = []
    found = checkpoints.latest(said.append)
    assert (found.step, found.about) == (10, {"curve": [{"step": 10}]})
    assert len(said) == 1
    assert "step 20: " in said[0]
    assert "goes on from the checkpoint of step 10 instead" in said[0]
    # the good one outlives what is written after it: never are both lost
    checkpoints.save(12, tensors(12), {"curve": []})
    assert checkpoints.steps() == [10, 12]
    assert checkpoints.latest().step == 12


class KilledError(Exception):
    pass


@pytest.mark.parametrize("writes", [0, 1])
def test_a_save_that_was_killed_half_way_counts_as_nothing(checkpoints, monkeypatch, writes):
    checkpoints.save(10, tensors(10), {})
    write, done = checkpoints.store.write_file, []

    def write_some(key):
        if len(done) == writes:
            raise KilledError
        done.append(key)
        return write(key)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.store, "write_file", write_some)
        with pytest.raises(KilledError):
            checkpoints.save(20, tensors(20), {})
    checkpoints.store.write_blob(f"{checkpoints.folder}/.tmp-1234", b"half of it")
    assert checkpoints.latest().step == 10
    checkpoints.keep([])
    assert checkpoints.store.list_blobs(checkpoints.folder) == []


@pytest.mark.parametrize("name", ["step-00000010.safetensors", "step-00000010.json"])
def test_a_damaged_only_checkpoint_says_where_it_is_and_what_to_do(checkpoints, name):
    checkpoints.save(10, tensors(10), {"curve": []})
    cut(checkpoints, name)
    with pytest.raises(UserError, match=f"checkpoint {checkpoints.folder}, step 10: .*delete the folder") as caught:
        checkpoints.latest()
    shutil.rmtree(
        Path(checkpoints.store.root) / re.search(r"delete the folder (\S+) of the root", str(caught.value))[1]
    )
    assert checkpoints.latest() is None, "what the error says works"


def test_noise_of_a_step_depends_on_seed_stream_and_step():
    def draw(*which):
        return torch.rand(4, generator=step_generator(*which)).tolist()

    assert draw(0, 1, 2) == draw(0, 1, 2)
    assert len({tuple(draw(*which)) for which in ((0, 1, 2), (1, 1, 2), (0, 2, 2), (0, 1, 3))}) == 4
