"""Files of weights that are swapped, cut short or forged are refused by name; the networks stay as they were."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from classifier.training.published import latest_classifier, load_document, load_scorer
from models.registry import load_tokenizer
from models.runtime.weights import WeightsError, load_states, pack, unpack
from pipeline.config import ClassifierConfig
from pipeline.errors import UserError
from pipeline.storage.arrow import pc
from pipeline.storage.models_table import ModelRecord, append_model, models_of_kind
from pipeline.storage.store import Store


def tensors() -> dict[str, torch.Tensor]:
    return {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4)}


def forged(change: Callable[[dict[str, object]], object], body: int = 40) -> bytes:
    """Return a safetensors file whose header was changed, with a body of so many bytes."""
    header = {
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "F32", "shape": [4], "data_offsets": [24, 40]},
    }
    change(header)  # type: ignore[arg-type]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(body)


FORGED: dict[str, bytes] = {
    "empty": b"",
    "no header": b"\x05\0\0\0",
    "a header of 100 MB": struct.pack("<Q", 100 << 20) + b"{" * 1000,
    "a header of 16 exabytes": b"\xff" * 8 + b"{}",
    "a header of 100,000 brackets": struct.pack("<Q", 100_000) + b"[" * 100_000,
    "overlapping tensors": forged(lambda header: header["b"].update(data_offsets=[8, 24])),  # type: ignore[attr-defined]
    "a tensor beyond the end": forged(lambda header: header["b"].update(data_offsets=[24, 4000], shape=[994])),  # type: ignore[attr-defined]
    "negative offsets": forged(lambda header: header["b"].update(data_offsets=[-16, 0])),  # type: ignore[attr-defined]
    "a dtype that does not exist": forged(lambda header: header["b"].update(dtype="F31")),  # type: ignore[attr-defined]
    "a shape that overflows": forged(lambda header: header["b"].update(shape=[2**62, 2**62])),  # type: ignore[attr-defined]
    "a gap": forged(lambda header: header["b"].update(data_offsets=[28, 44]), 44),  # type: ignore[attr-defined]
    "a pickle": b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.",
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_file_of_tensors_is_refused(name: str) -> None:
    with pytest.raises(WeightsError, match="damaged or cut short"):
        unpack(FORGED[name])


def test_no_flipped_byte_gives_other_tensors() -> None:
    whole, good = pack(tensors()), tensors()
    for place in range(0, len(whole), 3):
        data = bytearray(whole)
        data[place] ^= 16
        try:
            found = unpack(bytes(data))
        except WeightsError:
            continue
        # the name of the checksum: what it would be compared with is whole
        assert found.keys() == good.keys()
        assert all(torch.equal(found[name], good[name]) for name in good)


def test_a_wrong_dtype_or_shape_changes_no_network() -> None:
    network = torch.nn.Linear(3, 2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for wrong in (
        {"net.weight": torch.ones(2, 3, dtype=torch.float16), "net.bias": torch.ones(2)},
        {"net.weight": torch.ones(3, 2), "net.bias": torch.ones(2)},
        {"net.weight": torch.ones(2, 3)},
    ):
        with pytest.raises(WeightsError, match="do not fit"):
            load_states({"net": network}, {}, wrong)
        assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_weights_of_another_model_of_the_same_shapes_are_refused(root: Store) -> None:
    [first] = models_of_kind(root, "video_tokenizer")
    other = ModelRecord(
        model_id="other",
        kind=first.kind,
        path="models/video_tokenizer/other",
        config=first.config,
        metrics={},
        inputs={},
    )
    shutil.copytree(Path(root.root) / first.path, Path(root.root) / other.path, dirs_exist_ok=True)
    weights = unpack(root.read_blob(f"{first.path}/weights.safetensors"))
    root.write_blob(f"{other.path}/weights.safetensors", pack({name: value + 1 for name, value in weights.items()}))
    append_model(root, other)
    assert load_tokenizer(root, "other") is not None
    a, b = (Path(root.root) / one.path / "weights.safetensors" for one in (first, other))
    mine, theirs = a.read_bytes(), b.read_bytes()
    a.write_bytes(theirs)
    b.write_bytes(mine)
    for model_id in (first.model_id, "other"):
        with pytest.raises(UserError, match=rf"{model_id}/weights\.safetensors.*is not the file that was published"):
            load_tokenizer(root, model_id)


def test_the_classifier_reads_no_changed_file(root: Store) -> None:
    model = latest_classifier(root)
    assert model is not None
    config = ClassifierConfig(**model.config)
    for name, read in (
        ("weights.safetensors", lambda: load_scorer(root, model, config)),
        ("model.json", lambda: load_document(root, model)),
    ):
        path = Path(root.root) / model.path / name
        whole = path.read_bytes()
        read()
        for data in (whole[:-1], whole.replace(b"0", b"1", 1), b"", b"[]"):
            path.write_bytes(data)
            with pytest.raises(UserError, match=rf"{name}.*is not the file that was published.*doctor --deep --mend"):
                read()
        path.unlink()
        with pytest.raises(UserError, match=rf"{name}.*is not there"):
            read()
        path.write_bytes(whole)


def test_a_row_without_hashes_as_older_versions_wrote_it_is_read(root: Store) -> None:
    rows = root.read("models", where=pc.field("kind") == "video_tokenizer").to_pylist()
    root.replace("models", [{**row, "files": None} for row in rows])
    assert load_tokenizer(root, rows[0]["model_id"]) is not None
