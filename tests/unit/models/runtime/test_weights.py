import pytest
import torch

from models.runtime.weights import WeightsError, load_states, pack, part_of, prefixed, unpack

TENSORS = {
    "rows": torch.arange(12.0).reshape(3, 4),
    "turned": torch.arange(6.0).reshape(2, 3).T,
    "counts": torch.tensor([3, 1]),
    "step": torch.tensor(7.0),
    "none": torch.zeros(0, 2),
    "half": torch.ones(3, dtype=torch.bfloat16),
}


def test_tensors_come_back_as_they_were():
    found = unpack(pack(TENSORS))
    assert set(found) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


def test_every_byte_that_changes_is_noticed():
    data = pack(TENSORS)
    header = 8 + int.from_bytes(data[:8], "little")
    for place in range(header, len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(WeightsError, match="do not give its checksum"):
            unpack(changed)


@pytest.mark.parametrize("size", [0, 5, 8, 40, -1])
def test_a_file_that_is_cut_short_is_refused(size):
    data = pack(TENSORS)
    with pytest.raises(WeightsError, match="damaged or cut short"):
        unpack(data[:size])


def test_something_else_is_no_file_of_tensors():
    with pytest.raises(WeightsError, match="the file of 600 bytes is damaged"):
        unpack(b"<html>" * 100)


def test_a_file_of_another_program_has_no_checksum_and_is_read():
    from safetensors.torch import save

    assert torch.equal(unpack(save({"rows": TENSORS["rows"]}))["rows"], TENSORS["rows"])


def test_prefixes_tell_networks_apart():
    both = prefixed("lam", {"counts": torch.tensor(1)}) | prefixed("lam_optimizer", {"counts": torch.tensor(2)})
    assert part_of("lam", both) == {"counts": torch.tensor(1)}
    assert part_of("lam_optimizer", both) == {"counts": torch.tensor(2)}


def test_nothing_is_loaded_where_something_does_not_fit():
    first, second = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    before = first.weight.detach().clone()
    tensors = prefixed("first", {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)})
    tensors |= prefixed("second", {"weight": torch.zeros(2, 4), "bias": torch.zeros(2)})
    with pytest.raises(WeightsError, match=r"second.weight is float32 \(2, 4\) instead of float32 \(2, 3\)"):
        load_states({"first": first, "second": second}, {}, tensors)
    assert torch.equal(first.weight, before)


def test_many_misfits_are_named_first_and_counted():
    with pytest.raises(WeightsError, match=r"network.0.weight is missing, .*, network.1.weight is missing and 2 more"):
        load_states({"network": torch.nn.Sequential(*[torch.nn.Linear(2, 2)] * 2)}, {}, {"other": torch.zeros(1)})
