"""A checkpoint is written beside the steps; what becomes of it is told at the next one, and those before stay."""

import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from models.runtime.weights import pack, unpack
from models.training.checkpoint import Checkpoints
from models.training.finite import NotFiniteError, check_tensors
from models.training.loop import run
from models.training.saver import SaveError, Saver
from tests.unit.models.training.test_loop import Counting

ROOT = Path(__file__).parents[4]


@pytest.fixture
def checkpoints(store):
    return Checkpoints(store, "models/x/checkpoints")


@pytest.fixture
def held(checkpoints, monkeypatch):
    """Hold every write of tensors back until the event is set."""
    may, write = threading.Event(), checkpoints.store.write_file

    def later(key):
        assert not key.endswith(".safetensors") or may.wait(20)
        return write(key)

    monkeypatch.setattr(checkpoints.store, "write_file", later)
    return may


def full(checkpoints, monkeypatch, step, code=errno.ENOSPC):
    write = checkpoints.store.write_file

    def write_file(key):
        if f"{step:08d}" in key:
            raise OSError(code, "No space left on device")
        return write(key)

    monkeypatch.setattr(checkpoints.store, "write_file", write_file)


def test_steps_go_on_while_a_checkpoint_is_written_and_do_not_change_it(checkpoints, held):
    weights = torch.ones(3)
    curve = [{"step": 1}]
    with Saver(checkpoints) as saver:
        saver.save(1, {"weights": weights}, {"curve": curve})
        weights += 1
        curve.append({"step": 2})
        assert saver.good is None, "it is not written yet"
        held.set()
        saver.wait()
        assert saver.good == 1
    found = checkpoints.read(1)
    assert found.tensors["weights"].tolist() == [1, 1, 1]
    assert found.about == {"curve": [{"step": 1}]}


def test_the_next_save_waits_for_the_one_before_and_uses_its_memory_again(checkpoints):
    weights = torch.ones(3)
    with Saver(checkpoints) as saver:
        for step in (1, 2, 3):
            saver.save(step, {"weights": weights * step, f"only{step}": weights}, {})
            where = saver._copies["weights"].data_ptr()
            saver.save(step + 10, {"weights": weights * step}, {})
            assert saver._copies["weights"].data_ptr() == where
            assert set(saver._copies) == {"weights"}
    assert checkpoints.read(13).tensors["weights"].tolist() == [3, 3, 3]


def test_a_tensor_is_finite_where_each_of_its_numbers_is():
    for bad in (torch.tensor([1.0, float("nan")]), torch.tensor([float("inf"), -float("inf")])):
        with pytest.raises(NotFiniteError, match=r"1 of 2 tensors are not finite \(bad\)"):
            check_tensors({"good": torch.ones(3), "bad": bad})
    # only the sum of these is too large for a number
    check_tensors({"large": torch.full((3,), 3e38), "half": torch.full((9,), 6e4, dtype=torch.float16)})
    check_tensors({"counts": torch.tensor([2**62, 2**62]), "none": torch.zeros(0)})


def test_a_file_is_the_same_whether_it_is_built_in_memory_or_written_piece_by_piece(checkpoints):
    dtypes = (torch.bool, torch.uint8, torch.int64, torch.bfloat16, torch.float16, torch.float32, torch.float64)
    tensors = {f"{number} é": torch.arange(6).reshape(2, 3).to(dtype) for number, dtype in enumerate(dtypes)}
    tensors |= {"number": torch.tensor(3.5), "none": torch.zeros(0, 2), "turned": torch.rand(4, 3).T}
    checkpoints.save(1, tensors, {})
    data = checkpoints.store.read_blob(f"{checkpoints.folder}/step-00000001.safetensors")
    assert data == pack(tensors)
    assert all(torch.equal(found, tensors[name]) for name, found in unpack(data).items())


@pytest.mark.parametrize("last", [3, 6])
def test_a_disk_that_is_full_ends_the_run_with_the_checkpoint_before_and_with_room_it_goes_on(
    checkpoints, monkeypatch, last
):
    with monkeypatch.context() as patch:
        full(checkpoints, patch, last)
        with pytest.raises(
            SaveError, match=r"x: a checkpoint could not be written to models/x/check.*No space"
        ) as caught:
            run(Counting(6), checkpoints, stage="x", checkpoint_every=1)
    assert checkpoints.latest().step == last - 1
    assert f"The checkpoint of step {last - 1} is good and stays. Free space there" in str(caught.value)
    assert f"start again: it goes on from step {last - 1}." in str(caught.value)
    again = Counting(6)
    assert [point["step"] for point in run(again, checkpoints, stage="x", checkpoint_every=1)] == list(range(1, 7))
    assert again.value == 6


def test_a_disk_that_is_full_for_the_tracker_ends_the_run_too(checkpoints):
    class Full:
        def log(self, data, step):
            if step == 4:
                raise OSError(errno.ENOSPC, "No space left on device")

        def finish(self):
            pass

    with pytest.raises(SaveError, match=r"x: .*No space left.*The checkpoint of step 2 is good and stays\. Free space"):
        run(Counting(6), checkpoints, stage="x", checkpoint_every=2, make_tracker=lambda first: Full())
    assert checkpoints.latest().step == 2


def test_another_error_of_the_disk_says_to_make_it_writable(checkpoints, monkeypatch):
    full(checkpoints, monkeypatch, 1, errno.EROFS)
    with Saver(checkpoints) as saver:
        saver.save(1, {"weights": torch.ones(1)}, {})
        with pytest.raises(SaveError, match=r"No checkpoint was written yet\. Make the root writable, and start again"):
            saver.wait()
        saver.check()  # it is told once


def test_an_error_of_the_program_is_not_taken_for_one_of_the_disk(checkpoints):
    with Saver(checkpoints) as saver:
        saver.save(1, {"weights": torch.ones(1)}, {"odd": object()})
        with pytest.raises(TypeError):
            saver.wait()
    assert checkpoints.steps() == []


def test_an_object_store_that_fails_for_a_moment_is_tried_again(checkpoints, monkeypatch):
    write, failures = Checkpoints.write, [ConnectionError("reset"), TimeoutError("slow")]

    def write_later(self, *arguments):
        if failures:
            raise failures.pop()
        write(self, *arguments)

    monkeypatch.setattr(Checkpoints, "write", write_later)
    with Saver(checkpoints, pauses_s=(0, 0)) as saver:
        saver.save(1, {"weights": torch.ones(1)}, {})
        saver.wait()
    assert checkpoints.latest().step == 1
    failures += [ConnectionError("reset")] * 3
    with Saver(checkpoints, 1, pauses_s=(0, 0)) as saver:
        saver.save(2, {"weights": torch.ones(1)}, {})
        with pytest.raises(SaveError, match=r"The checkpoint of step 1 is good and stays\. Make the root writable"):
            saver.wait()


PROGRAM = """
import resource, signal, sys
from models.training.checkpoint import Checkpoints
from models.training.loop import run
from pipeline.storage.store import Store
from tests.unit.models.training.test_loop import Counting

import torch

class Large(Counting):
    def tensors(self):
        return {"value": torch.tensor(self.value), "more": torch.zeros(5_000 if self.value > 4 else 10)}

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
run(Large(8), Checkpoints(Store(sys.argv[1]), "models/x/checkpoints"), stage="x", checkpoint_every=2)
"""


@pytest.mark.slow
def test_a_file_that_may_not_grow_leaves_the_checkpoint_before_and_nothing_half_written(checkpoints):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, checkpoints.store.root], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert "SaveError: x: a checkpoint could not be written" in done.stderr
    assert "The checkpoint of step 4 is good and stays. Free space there" in done.stderr
    assert checkpoints.latest().step == 4
    assert not [key for key in checkpoints.store.list_blobs("models") if ".tmp-" in key]


def test_the_memory_of_a_copy_is_taken_before_the_first_save(checkpoints):
    weights = torch.ones(3)
    with Saver(checkpoints) as saver:
        saver.prepare({"weights": weights})
        saver.join()
        where = saver._copies["weights"].data_ptr()
        # moments that come later are added, and what is there stays where it is
        saver.prepare({"weights": weights, "moments": weights})
        saver.save(1, {"weights": weights, "moments": 2 * weights}, {})
        assert saver._copies["weights"].data_ptr() == where
    found = checkpoints.read(1).tensors
    assert (found["weights"].tolist(), found["moments"].tolist()) == ([1, 1, 1], [2, 2, 2])


def test_memory_that_is_not_there_ends_the_run_at_the_next_step(checkpoints, monkeypatch):
    monkeypatch.setattr(Saver, "_memory", lambda *arguments: torch.empty(1 << 60))
    with pytest.raises(RuntimeError, match="memory"):
        run(Counting(6), checkpoints, stage="x", checkpoint_every=2)
    assert checkpoints.steps() == []


def test_a_run_has_the_memory_of_its_first_checkpoint_after_one_step(checkpoints, monkeypatch):
    prepared = []
    prepare = Saver.prepare
    monkeypatch.setattr(Saver, "prepare", lambda self, tensors: (prepared.append(set(tensors)), prepare(self, tensors)))
    run(Counting(6), checkpoints, stage="x", checkpoint_every=3)
    assert prepared == [set(Counting(1).tensors())]
